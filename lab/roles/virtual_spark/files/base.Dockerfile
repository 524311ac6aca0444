# SIMULATED: the root file system of a lab of virtual Sparks, where no registry offers Debian 13 itself.
FROM scratch
ADD rootfs.tar /
CMD ["/bin/bash"]
