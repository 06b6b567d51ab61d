#!/usr/bin/env bash
# Does thinking aloud help? Three small policies from the same start, data and number of frames:
# one that reasons (depth, trace, actions) and one asked for actions alone, each about three goals a
# frame; one that sees a drawn path, which makes every frame one goal.
#
#     ./run shell benchmarks/ablation.sh DATA BASE OUT [STEPS] [PRESET] [DEVICE]
#
# DATA from molmoact scatter; BASE a checkpoint to start from (small_policy.sh makes both). The
# third one is scored with the expert's own path drawn, so it is told where to go.
set -euo pipefail
data="${1:?data set}" base="${2:?checkpoint to start from}" out="${3:?folder for runs and scores}"
steps="${4:-1000}" preset="${5:-micro-cpu}" device="${6:-cpu}"
read -ra more <<<"${TRAIN_OPTIONS:-}"
export OMP_NUM_THREADS=1
if [ "$device" = cpu ]; then
  train() { torchrun --nproc-per-node 2 -m molmoact_ros.cli train "$@"; }
else
  train() { molmoact train "$@"; }
fi
one() { # name, shares, how it is scored
  local name="$1" shares="$2" score="$3" sets=()
  for share in $shares; do sets+=(--set "$share"); done
  train --data "$data" --base "$base" --out "$out/$name" --preset "$preset" \
    --device "$device" --set "steps=$steps" \
    "${sets[@]}" "${more[@]}" --export "$out/$name/policy"
  # shellcheck disable=SC2086
  molmoact eval sim --checkpoint "$out/$name/policy" --device "$device" --families pick_up put_on \
    --seeds "${SEEDS:-20}" --out "$out/$name/eval" $score
}
one reasoning "reason=1 steer=0 act=0" ""
one actions "reason=0 steer=0 act=1" "--plain"
one drawn "reason=0 steer=1 act=0 mismatch=0" "--guided"
