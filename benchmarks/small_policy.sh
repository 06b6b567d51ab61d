#!/usr/bin/env bash
# A small MolmoAct that drives, made from nothing: data, training, export, score. Goes on where it
# was stopped; every step says what it does.
#
#     ./run shell benchmarks/small_policy.sh OUT            (with a GPU)
#     ./run shell benchmarks/small_policy.sh OUT cpu        (two idle cores: a night or more)
set -euo pipefail
out="${1:?give a folder for data, runs and the checkpoint}"
device="${2:-cuda}"
jobs="${JOBS:-$(nproc)}"
read -ra more <<<"${TRAIN_OPTIONS:-}" # e.g. TRAIN_OPTIONS="--set steps=2000"
export OMP_NUM_THREADS=1
if [ "$device" = cpu ]; then
  molmoact scatter --out "$out/data" --frames "${FRAMES:-25000}" --jobs "$jobs"
  # Most of it on short answers, which teach the same for a third of the time.
  [ -d "$out/first" ] || molmoact train --data "$out/data" --out "$out/run1" --size micro \
    --preset micro-cpu --device cpu "${more[@]}" --export "$out/first"
  molmoact train --data "$out/data" --out "$out/run2" --base "$out/first" \
    --preset micro-cpu-whole --device cpu "${more[@]}" --export "$out/micro"
else
  molmoact scatter --out "$out/data" --frames "${FRAMES:-60000}" --jobs "$jobs"
  molmoact train --data "$out/data" --out "$out/run" --size micro --preset micro \
    --set workers=$((jobs > 2 ? jobs - 2 : 0)) --device "$device" "${more[@]}" \
    --export "$out/micro"
fi
molmoact eval sim --checkpoint "$out/micro" --device "$device" --seeds "${SEEDS:-20}" \
  --out "$out/eval"
molmoact eval sim --checkpoint "$out/micro" --device "$device" --seeds "${SEEDS:-20}" \
  --families pick_up --steer --out "$out/eval_steer"
