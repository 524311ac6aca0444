# SIMULATED: the NVIDIA Container Toolkit of a virtual Spark.
"""Own code that behaves as NVIDIA's toolkit was seen to, as far as a virtual Spark needs it."""
