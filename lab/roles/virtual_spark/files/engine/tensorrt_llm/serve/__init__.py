# SIMULATED: part of a virtual Spark's stand-in for TensorRT-LLM.
