# SIMULATED: what stands around the virtual Sparks of a lab: the internet (a registry, a Hugging Face hub, packages) and the cables.
ARG BASE
FROM ${BASE}

ARG MIRROR
RUN echo force-unsafe-io > /etc/dpkg/dpkg.cfg.d/virtual-spark \
 && { [ -z "${MIRROR}" ] || { rm -f /etc/apt/sources.list.d/* && echo "deb ${MIRROR} trixie main" > /etc/apt/sources.list; }; } \
 && apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      python3 iproute2 docker-registry ca-certificates openssl gpg gpg-agent apt-utils \
 && apt-get clean && rm -rf /var/lib/apt/lists/*

# The toolkit again, in three versions: which one it is decides what it does with a Swarm task's GPU.
COPY toolkit /usr/src/toolkit
RUN mkdir -p /usr/share/virtual-spark/packages && cd /usr/src && chmod -R go-w toolkit \
 && for version in 1.18.2 1.19.0 1.20.0; do \
      sed -i "s/^Version: .*/Version: ${version}-1/; s/(= [^)]*-1)/(= ${version}-1)/g" toolkit/DEBIAN/control \
   && sed -i "s/^VERSION = .*/VERSION = \"${version}\"/" toolkit/usr/lib/nvidia-container-toolkit/nvidia_toolkit/config.py \
   && dpkg-deb --root-owner-group --build toolkit /usr/share/virtual-spark/packages/ || exit 1; \
    done \
 && rm -rf /usr/src/toolkit

COPY cables internet /usr/lib/virtual-spark/
