#!/usr/bin/env bash
# Does thinking aloud help? Three small policies from the same start, data and number of steps: one
# that reasons (depth, trace, actions) and one asked for actions alone, each about three goals a
# frame; one that sees a drawn path, which makes every frame one goal. The start is scored too,
# asked in all three ways.
#
#     ./run shell benchmarks/ablation.sh DATA BASE OUT [STEPS] [PRESET] [DEVICE]
#
# DATA from molmoact scatter (several folders in quotes); BASE a checkpoint to start from, best one
# that has seen all three kinds (small_policy.sh OUT with TRAIN_OPTIONS="--set act=0.5"). The third
# one is scored with the expert's own path drawn, so it is told where to go. Goes on where it was
# stopped. JOBS scorings run at once.
set -euo pipefail
read -ra data <<<"${1:?data sets}"
base="${2:?checkpoint to start from}" out="${3:?folder for runs and scores}"
steps="${4:-1000}" preset="${5:-micro-cpu}" device="${6:-cpu}" jobs="${JOBS:-2}"
read -ra more <<<"${TRAIN_OPTIONS:-}"
export OMP_NUM_THREADS=1
if [ "$device" = cpu ]; then
  train() { torchrun --nproc-per-node 2 -m molmoact_ros.cli train "$@"; }
else
  train() { molmoact train "$@"; }
fi
fine_tune() { # name, shares
  local name="$1" sets=()
  shift
  for share in "$@"; do sets+=(--set "$share"); done
  [ -d "$out/$name/policy" ] || train --data "${data[@]}" --base "$base" --out "$out/$name" \
    --preset "$preset" --device "$device" --set "steps=$steps" "${sets[@]}" "${more[@]}" \
    --export "$out/$name/policy"
}
fine_tune reasoning reason=1 steer=0 act=0
fine_tune actions reason=0 steer=0 act=1
fine_tune drawn reason=0 steer=1 act=0 mismatch=0
score() { # name, checkpoint, how it is asked
  local name="$1" checkpoint="$2"
  shift 2
  [ -f "$out/scores/$name/results.json" ] || molmoact eval sim --checkpoint "$checkpoint" \
    --device "$device" --families pick_up put_on put_into --seeds "${SEEDS:-20}" \
    --out "$out/scores/$name" "$@" >"$out/scores/$name.log"
}
export -f score
export out device
mkdir -p "$out/scores"
printf '%s\n' "reasoning $out/reasoning/policy" "actions $out/actions/policy --plain" \
  "drawn $out/drawn/policy --guided" "start-reasoning $base" "start-actions $base --plain" \
  "start-drawn $base --guided" | xargs -P "$jobs" -I{} bash -c 'set -e; score {}'
python benchmarks/ablation_table.py "$out/scores" --steps "$steps"
