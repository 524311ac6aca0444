# SIMULATED: part of a virtual Spark's stand-in for SGLang and for vLLM.
