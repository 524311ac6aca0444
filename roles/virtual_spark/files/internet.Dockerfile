# SIMULATED: what stands around the virtual Sparks of a lab: the internet (a registry, a Hugging Face hub) and the cables.
ARG BASE
FROM ${BASE}

ARG MIRROR
RUN echo force-unsafe-io > /etc/dpkg/dpkg.cfg.d/virtual-spark \
 && { [ -z "${MIRROR}" ] || { rm -f /etc/apt/sources.list.d/* && echo "deb ${MIRROR} trixie main" > /etc/apt/sources.list; }; } \
 && apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      python3 iproute2 docker-registry ca-certificates openssl \
 && apt-get clean && rm -rf /var/lib/apt/lists/*

COPY cables internet /usr/lib/virtual-spark/
