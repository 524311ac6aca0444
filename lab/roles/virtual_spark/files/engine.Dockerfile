# SIMULATED: TensorRT-LLM's image for a lab of virtual Sparks. MPI is real, and so are the bytes that its ranks exchange.
ARG BASE
FROM ${BASE}

ARG MIRROR
ARG SUITE=trixie
# AMD's compiler and GPU libraries, which UCX could load as a plugin, are half of the image and of no use here.
RUN echo force-unsafe-io > /etc/dpkg/dpkg.cfg.d/virtual-spark \
 && for part in libLLVM-17 libamd_comgr libamdhip64 libz3; do echo "path-exclude=/usr/lib/*/${part}*"; done \
      > /etc/dpkg/dpkg.cfg.d/virtual-spark-engine \
 && { [ -z "${MIRROR}" ] || { rm -f /etc/apt/sources.list.d/* && echo "deb ${MIRROR} ${SUITE} main" > /etc/apt/sources.list; }; } \
 && apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      openmpi-bin python3 python3-mpi4py python3-yaml openssl openssh-client ca-certificates curl procps iproute2 \
 && ln -s python3 /usr/bin/python \
 && apt-get clean && rm -rf /var/lib/apt/lists/*

COPY engine/bin/trtllm-serve engine/bin/trtllm-llmapi-launch engine/bin/*_perf_mpi /usr/local/bin/
COPY engine/bin/nvidia_entrypoint.sh /opt/nvidia/nvidia_entrypoint.sh
COPY engine/tensorrt_llm /usr/lib/python3/dist-packages/tensorrt_llm
COPY engine/examples /app/tensorrt_llm/examples
ARG VERSION=1.3.0rc13
# A file, not the environment: what sshd starts for a rank on another node sees nothing of a container's environment.
RUN mkdir -p /etc/virtual-spark-engine /run/virtual-spark-engine/faults /app/tensorrt_llm \
 && echo "${VERSION}" > /etc/virtual-spark-engine/version \
 && python3 /usr/lib/python3/dist-packages/tensorrt_llm/simulation/era.py "${VERSION}" > /etc/virtual-spark-engine/era \
 && python3 -m tensorrt_llm.simulation.schema \
 && python3 -m compileall -q /usr/lib/python3/dist-packages/tensorrt_llm

# As NVIDIA's image: only a bash is told where TensorRT's libraries are.
RUN mkdir -p /usr/local/tensorrt/lib /usr/lib/virtual-spark \
 && echo "NCCL version 2.28.3+cuda13.0 (SIMULATED: no library)" > /usr/lib/virtual-spark/libnccl.so.2.28.3 \
 && echo 'export LD_LIBRARY_PATH=/usr/local/tensorrt/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}' > /etc/shinit_v2
ENV BASH_ENV=/etc/shinit_v2

WORKDIR /app/tensorrt_llm
ENTRYPOINT ["/opt/nvidia/nvidia_entrypoint.sh"]
CMD ["/bin/bash"]
