#!/usr/bin/env bash
# SIMULATED: stands in for the entrypoint of NVIDIA's image in a virtual Spark.
echo "== TensorRT-LLM Release $(cat /etc/virtual-spark-engine/version): SIMULATED, a virtual Spark's stand-in =="
exec "$@"
