# SIMULATED: stands in for vLLM in a virtual Spark; computes nothing.
