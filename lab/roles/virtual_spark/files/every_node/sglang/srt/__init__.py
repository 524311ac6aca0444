# SIMULATED: stands in for SGLang in a virtual Spark; computes nothing.
