# Set-up of ./run, sourced by it: Debian packages, virtual environment, Python packages, ROS
# interfaces. Every step is skipped when the hash of its inputs is the one of the last success,
# so a second start takes a second.

venv="${MOLMOACT_VENV:-$root/.venv}"
case "$venv" in /*) ;; *) venv="$root/$venv" ;; esac
export MOLMOACT_VENV="$venv"
stamps="$venv/.molmoact"
step_number=0
step_count=5
# Wheels with code compiled here: a compiler; pictures without a screen: Mesa's software EGL.
debian_demo=(g++ make libegl1 libegl-mesa0 libgl1 libgl1-mesa-dri libgles2)
# The page is tested in a real browser. Ubuntu has it as a snap only; then those tests are skipped.
debian_test=(chromium chromium-driver)

fail() {
  printf '\n%s\n' "$*" >&2
  exit 1
}

need_environment() {
  [ -x "$venv/bin/python" ] || fail "There is no environment in $venv yet. Run: ./run setup"
}

# step TITLE COMMAND... : run it with its output in log/, show the time, the tail when it fails.
step() {
  local title="$1" log_file start status=0
  shift
  step_number=$((step_number + 1))
  log_file="$root/log/setup-$step_number.txt"
  mkdir -p "$root/log"
  start=$SECONDS
  printf '[%d/%d] %s ' "$step_number" "$step_count" "$title"
  # A process group of its own, so that Ctrl-C ends pip or colcon too, not only this shell.
  set -m
  "$@" >"$log_file" 2>&1 </dev/null &
  local job=$!
  set +m
  # shellcheck disable=SC2064  # the number is wanted as it is now
  trap "kill -- -$job 2>/dev/null; exit 130" INT TERM
  while kill -0 "$job" 2>/dev/null; do
    if [ -t 1 ]; then
      printf '\r\033[K[%d/%d] %s  %ds' "$step_number" "$step_count" "$title" $((SECONDS - start))
    fi
    sleep 0.2
  done
  wait "$job" || status=$?
  trap - INT TERM
  if [ "$status" -ne 0 ]; then
    printf '\n'
    tail -n 30 "$log_file" >&2
    fail "Step \"$title\" failed; the whole output is in $log_file"
  fi
  [ -t 1 ] && printf '\r\033[K[%d/%d] %s ' "$step_number" "$step_count" "$title"
  printf ' %ds\n' $((SECONDS - start))
}

done_already() {
  step_number=$((step_number + 1))
  printf '[%d/%d] %s  up to date\n' "$step_number" "$step_count" "$1"
}

# --- Debian packages -------------------------------------------------------------------------

missing_packages() {
  local name
  for name in "$@"; do
    dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || echo "$name"
  done
}

# Headers of a Python that came from apt; one from pyenv or uv brings its own.
python_packages() {
  local base version
  if ! base="$(choose_python)"; then
    echo "python3.11 python3.11-venv python3.11-dev"
  elif ! "$base" -c 'import sysconfig, pathlib, venv, ensurepip, sys
sys.exit(not (pathlib.Path(sysconfig.get_paths()["include"]) / "Python.h").exists())' 2>/dev/null; then
    version="$("$base" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
    echo "python$version-venv python$version-dev"
  fi
}

install_debian() {
  export DEBIAN_FRONTEND=noninteractive
  local as_root=()
  [ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
  "${as_root[@]}" apt-get -o DPkg::Lock::Timeout=300 update || return 1
  "${as_root[@]}" apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$@"
}

debian_step() {
  local wanted=("${debian_demo[@]}") missing name
  if ! command -v dpkg-query >/dev/null 2>&1; then
    echo "This is not Debian or Ubuntu: install a C++ compiler, make and Mesa's EGL yourself." >&2
    done_already "System packages (not checked)"
    return
  fi
  # shellcheck disable=SC2207  # package names hold no blanks
  wanted+=($(python_packages))
  if [ "$1" = test ]; then
    for name in "${debian_test[@]}"; do
      # Asked first: on Ubuntu there is nothing to install under these names.
      if apt-cache show "$name" >/dev/null 2>&1 || grep -qs '^ID=debian' /etc/os-release; then
        wanted+=("$name")
      fi
    done
  fi
  # shellcheck disable=SC2207
  missing=($(missing_packages "${wanted[@]}"))
  if [ "${#missing[@]}" -eq 0 ]; then
    done_already "Debian packages"
    return
  fi
  if [ "$(id -u)" -ne 0 ] && ! sudo -n true 2>/dev/null; then
    if [ -t 0 ] && command -v sudo >/dev/null 2>&1; then
      echo "Debian packages are missing (${missing[*]}); sudo asks for your password."
      sudo -v || fail "Install them yourself: sudo apt-get install -y ${missing[*]}"
    else
      fail "Debian packages are missing and there is no root and no sudo here. As root, run:
  apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
    fi
  fi
  step "Debian packages: ${missing[*]}" install_debian "${missing[@]}"
}

# --- Python ----------------------------------------------------------------------------------

choose_python() {
  local name
  for name in ${MOLMOACT_PYTHON:-python3.11 python3.12}; do
    # A pyenv shim exists for versions that are not active: only running it tells.
    if "$name" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' \
      >/dev/null 2>&1; then
      "$name" -c 'import sys; print(sys.executable)'
      return 0
    fi
  done
  return 1
}

create_venv() {
  local base
  base="$(choose_python)" || {
    echo "No Python 3.11 or 3.12 found. Install python3.11 and python3.11-venv, or name one with MOLMOACT_PYTHON."
    return 1
  }
  "$base" -m venv "$venv"
}

venv_step() {
  if [ -x "$venv/bin/python" ] && "$venv/bin/python" -c 'import pip' 2>/dev/null; then
    done_already "Virtual environment $venv"
  else
    step "Virtual environment $venv" create_venv
  fi
  mkdir -p "$stamps"
}

# Prints pip options that get torch without several GB of CUDA, or nothing when there is no way.
torch_options() {
  local version
  version="$(sed -n 's/^torch==//p' "$root/requirements/model.txt")"
  if [ -n "${MOLMOACT_TORCH_INDEX:-}" ]; then
    echo "--extra-index-url $MOLMOACT_TORCH_INDEX"
  elif "$venv/bin/python" -c 'import torch' 2>/dev/null; then
    :
  elif "$venv/bin/pip" install -q --dry-run --no-deps "torch==$version+cpu" >/dev/null 2>&1; then
    :
  elif "$venv/bin/pip" install -q --dry-run --no-deps --retries 0 --timeout 15 \
    --index-url https://download.pytorch.org/whl/cpu "torch==$version+cpu" >/dev/null 2>&1; then
    echo "--extra-index-url https://download.pytorch.org/whl/cpu"
  else
    echo "No CPU build of torch $version was found: pip takes PyPI's, with several GB of CUDA." >&2
    echo "Avoid it with MOLMOACT_TORCH_INDEX=<an index that has torch==$version+cpu>." >&2
  fi
}

install_requirements() {
  local arguments=(-c "$root/requirements/constraints.txt") name
  for name in "$@"; do arguments+=(-r "$root/requirements/$name.txt"); done
  # shellcheck disable=SC2046  # options are meant to be split
  "$venv/bin/python" -m pip install --disable-pip-version-check --no-input \
    $(torch_options) "${arguments[@]}" || return 1
  "$venv/bin/python" "$root/tools/mend_wheels.py"
}

python_step() {
  local title="$1" stamp="$stamps/$2" wanted name
  shift 2
  wanted="$(for name in "$@" constraints; do cat "$root/requirements/$name.txt"; done | sha256sum)"
  if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    done_already "$title"
    return
  fi
  step "$title" install_requirements "$@"
  echo "$wanted" >"$stamp"
}

install_alone() {
  # Without them the tests that need them are skipped and say so.
  "$venv/bin/python" -m pip install --disable-pip-version-check --no-input --no-deps \
    -r "$root/requirements/without_dependencies.txt" || echo "not installed; tests are skipped"
}

alone_step() {
  local wanted
  wanted="$(sha256sum <"$root/requirements/without_dependencies.txt")"
  if [ "$(cat "$stamps/alone" 2>/dev/null)" = "$wanted" ]; then
    done_already "Vocabularies of the released models, openpi's client"
    return
  fi
  step "Vocabularies of the released models, openpi's client (150 MB)" install_alone
  echo "$wanted" >"$stamps/alone"
}

install_package() {
  "$venv/bin/python" -m pip install --disable-pip-version-check --no-input --no-deps \
    --no-build-isolation -e "$root"
}

package_step() {
  local wanted
  wanted="$( (echo "$root"; cat "$root/pyproject.toml") | sha256sum)"
  if [ "$(cat "$stamps/package" 2>/dev/null)" = "$wanted" ]; then
    done_already "molmoact_ros"
    return
  fi
  step "molmoact_ros" install_package
  echo "$wanted" >"$stamps/package"
}

# set_up demo|test
set_up() {
  local began=$SECONDS
  mkdir -p "$root/log"
  # Two starts at once (a demo and a test) share one environment.
  exec 8>"$root/log/setup.lock"
  flock 8
  [ "$1" = test ] && step_count=7
  debian_step "$1"
  venv_step
  python_step "Python packages (1.5 GB, a few minutes)" packages base model train sim ros build
  if [ "$1" = test ]; then
    python_step "Test tools" tools test
    alone_step
  fi
  package_step
  step "ROS interfaces (a minute when they changed)" "$root/tools/build_messages.sh"
  exec 8>&-
  printf 'Set up in %d s.\n' $((SECONDS - began))
}
