#!/usr/bin/env bash
# A small MolmoAct that drives, made from nothing: scattered states, recorded bags, sight, thoughts,
# export, score. Goes on where it was stopped; every step says what it does.
#
#     ./run shell benchmarks/small_policy.sh OUT            (with a GPU)
#     ./run shell benchmarks/small_policy.sh OUT cpu        (two idle cores: a night)
set -euo pipefail
out="${1:?give a folder for data, runs and the checkpoint}"
device="${2:-cuda}"
jobs="${JOBS:-$(nproc)}"
read -ra more <<<"${TRAIN_OPTIONS:-}" # e.g. TRAIN_OPTIONS="--set steps=2000"
export OMP_NUM_THREADS=1
if [ "$device" = cpu ]; then
  suffix=-cpu frames=20000
  # One thread in each of two processes is quicker than two threads in one.
  train() { torchrun --nproc-per-node 2 -m molmoact_ros.cli train "$@"; }
else
  suffix="" frames=60000
  train() { molmoact train --set workers=$((jobs > 2 ? jobs - 2 : 0)) "$@"; }
fi
frames="${FRAMES:-$frames}"
molmoact scatter --out "$out/data" --frames "$frames" --jobs "$jobs"
# The same with cameras that hang elsewhere in every scene.
molmoact scatter --out "$out/moved" --frames "$frames" --jobs "$jobs" --jitter 1 --first-seed 2200000
# Whole episodes from our own recorder, by a scripted gamepad and the scripted policy (8 minutes).
[ -d "$out/recorded" ] || python benchmarks/training_bags.py "$out/recorded"
molmoact label "$out/recorded" --out "$out/bags" --set 'name="molmoact_ros_sim"' --jobs "$jobs" \
  --statistics "$out/data/dataset_statistics.json"
# Seeing first: it costs a quarter of a thought and must be precise before motions can be.
[ -d "$out/seeing" ] || train --data "$out/data" "$out/moved" --out "$out/run1" --size micro \
  --preset "micro-sight$suffix" --device "$device" "${more[@]}" --export "$out/seeing"
train --data "$out/data" "$out/moved" "$out/bags" --weights 0.47 0.46 0.07 --out "$out/run2" \
  --base "$out/seeing" --preset "micro$suffix" --device "$device" "${more[@]}" --export "$out/micro"
molmoact eval sim --checkpoint "$out/micro" --device "$device" --seeds "${SEEDS:-20}" \
  --variations none camera --out "$out/eval"
molmoact eval sim --checkpoint "$out/micro" --device "$device" --seeds "${SEEDS:-20}" \
  --families pick_up --steer --out "$out/eval_steer"
# Through ROS topics and franky.
python benchmarks/success.py --policy molmoact --checkpoint "$out/micro" --seeds "${SEEDS:-20}" \
  --families pick_up put_on put_into
python benchmarks/redirect.py --policy molmoact --checkpoint "$out/micro" --trials "${SEEDS:-20}"
