# SIMULATED: SGLang's image, or vLLM's, for a lab of virtual Sparks. The bytes that its ranks exchange are real.
ARG BASE
FROM ${BASE}

ARG MIRROR
ARG SUITE=trixie
RUN echo force-unsafe-io > /etc/dpkg/dpkg.cfg.d/virtual-spark \
 && { [ -z "${MIRROR}" ] || { rm -f /etc/apt/sources.list.d/* && echo "deb ${MIRROR} ${SUITE} main" > /etc/apt/sources.list; }; } \
 && apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      python3 openssh-client ca-certificates curl procps iproute2 \
 && ln -s python3 /usr/bin/python \
 && apt-get clean && rm -rf /var/lib/apt/lists/*

ARG ENGINE
# The parts that all stand-ins have in common, without the package around them: this image has no TensorRT-LLM.
COPY engine/tensorrt_llm/simulation /usr/lib/python3/dist-packages/tensorrt_llm/simulation
COPY every_node/every_node /usr/lib/python3/dist-packages/every_node
COPY every_node/${ENGINE} /usr/lib/python3/dist-packages/${ENGINE}
COPY every_node/bin/${ENGINE} /usr/local/bin/${ENGINE}
RUN chmod 755 /usr/local/bin/${ENGINE} && mkdir -p /run/virtual-spark-engine/faults /usr/lib/virtual-spark \
 && echo "NCCL version 2.28.3+cuda13.0 (SIMULATED: no library)" > /usr/lib/virtual-spark/libnccl.so.2.28.3 \
 && python3 -m compileall -q /usr/lib/python3/dist-packages/every_node /usr/lib/python3/dist-packages/${ENGINE} \
      /usr/lib/python3/dist-packages/tensorrt_llm
CMD ["/bin/bash"]
