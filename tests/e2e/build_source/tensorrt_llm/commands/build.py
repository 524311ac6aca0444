# SIMULATED: that this is here says that the image has trtllm-build.
