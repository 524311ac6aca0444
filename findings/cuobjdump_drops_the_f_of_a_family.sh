#!/usr/bin/env bash
# cuobjdump: --list-elf names machine code for a family of GPUs (sm_120f) as if it were for one GPU (sm_120).
#
# Packages: nvidia-cuda-nvcc, nvidia-cuda-cuobjdump, nvidia-nvvm, nvidia-cuda-crt, nvidia-cuda-runtime, each ==13.5.37 (some 200 MB); a g++.
# Expected: a library that was compiled for sm_120f and sm_90a is listed with both suffixes, as cuobjdump without a flag prints these.
# Seen: --list-elf prints sm_90a and sm_120, without the f; without a flag the same program prints "arch = sm_120f".
# What follows: whether an architecture's list holds code for a family cannot be told from --list-elf; for what runs where, take sm_120 for
#   code that runs on 12.0 and what is newer of 12.x, which is true of both.
set -eu

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
packages=(nvidia-cuda-nvcc nvidia-cuda-cuobjdump nvidia-nvvm nvidia-cuda-crt nvidia-cuda-runtime)
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps "${packages[@]/%/==13.5.37}" 2>"$scratch/pip.log" \
  || { cat "$scratch/pip.log" >&2; exit 1; }
cuda=$(echo "$scratch"/venv/lib/python3*/site-packages/nvidia/cu13)
export PATH="$cuda/bin:$PATH"
cuobjdump --version | tail -n 1

echo '__global__ void twice(float *a) { a[threadIdx.x] *= 2; }' >"$scratch/twice.cu"
nvcc -shared -Xcompiler -fPIC -cudart=none "-I$cuda/include" -gencode arch=compute_90a,code=sm_90a -gencode arch=compute_120f,code=sm_120f \
  "$scratch/twice.cu" -o "$scratch/libtwice.so"
listed=$(cuobjdump --list-elf "$scratch/libtwice.so" | grep -o 'sm_[0-9]*[af]*' | sort | paste -sd ' ')
printed=$(cuobjdump "$scratch/libtwice.so" | sed -n 's/^arch = //p' | sort | paste -sd ' ')
echo "--list-elf: $listed"
echo "without a flag: $printed"
[ "$listed" = "sm_120 sm_90a" ] && [ "$printed" = "sm_120f sm_90a" ] || { echo "the behaviour changed"; exit 1; }
