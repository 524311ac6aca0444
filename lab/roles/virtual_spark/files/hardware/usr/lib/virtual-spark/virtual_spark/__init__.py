# SIMULATED: the hardware of a virtual Spark.
"""Stand-ins for what a DGX Spark has and a container has not."""
