# SIMULATED: a DGX Spark. Debian 13 is the nearest to DGX OS 7 (Ubuntu 24.04) that can be had everywhere.
ARG BASE
FROM ${BASE}

ARG MIRROR
# The base's own sources are kept where no mirror is named. fsync on every unpacked file is of no use in an image.
# Empty package lists must look old: Ansible goes by their directory's age.
RUN echo force-unsafe-io > /etc/dpkg/dpkg.cfg.d/virtual-spark \
 && { [ -z "${MIRROR}" ] || { rm -f /etc/apt/sources.list.d/* && echo "deb ${MIRROR} trixie main" > /etc/apt/sources.list; }; } \
 && apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      systemd systemd-sysv dbus udev kmod sudo openssh-server procps less \
      iproute2 iputils-ping iperf3 ethtool netplan.io network-manager ufw iptables \
      docker.io docker-cli ca-certificates rsync curl python3 python3-apt \
 && apt-get clean && rm -rf /var/lib/apt/lists/* && touch -d 2025-01-01 /var/lib/apt/lists

# The hardware, NVIDIA's toolkit and perftest are packages, as on DGX OS, so that dpkg tells what owns them.
COPY hardware /usr/src/virtual-spark/hardware
COPY toolkit /usr/src/virtual-spark/toolkit
COPY perftest /usr/src/virtual-spark/perftest
RUN cd /usr/src/virtual-spark \
 && for package in hardware toolkit perftest; do \
      chmod -R go-w "${package}" && dpkg-deb --root-owner-group --build "${package}" && dpkg --install "${package}.deb" || exit 1; \
    done \
 && rm -rf /usr/src/virtual-spark

# What makes a machine out of an image: own host keys and machine-id at first boot, the DGX user, no background apt.
COPY spark/ /
# systemd takes the ID of D-Bus where there is one, and all Sparks would have the image's.
RUN rm -f /etc/ssh/ssh_host_* /var/lib/dbus/machine-id && : > /etc/machine-id \
 && useradd --create-home --shell /bin/bash --groups sudo nvidia \
 && install -d -m 0700 -o nvidia -g nvidia /home/nvidia/.ssh \
 && chmod 0440 /etc/sudoers.d/virtual-spark \
 && systemctl mask getty@.service console-getty.service systemd-pstore.service fstrim.timer \
      apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer

STOPSIGNAL SIGRTMIN+3
ENTRYPOINT ["/usr/bin/python3", "-SEs", "/usr/lib/virtual-spark/provision.py"]
