#!/usr/bin/env bash
# Build molmoact_msgs, and the tf2_msgs that the ROS wheels lack, with colcon into install/.
# Does nothing unless their sources, this script or the Python changed since the last build.
set -euo pipefail
script="$(readlink -f "${BASH_SOURCE[0]}")"
here="$(dirname "$(dirname "$script")")"
venv="$(readlink -f "${MOLMOACT_VENV:-$here/.venv}")"
stamp="$here/install/.interfaces.sha256"
log="$here/log/build_messages.txt"
cd "$here"
mkdir -p install log
# Two starts at once must not build into one folder.
exec 9>log/build_messages.lock
flock 9

wanted="$( (find src/molmoact_msgs tools/wheel_interfaces -type f -print0 | LC_ALL=C sort -z |
              xargs -0 sha256sum
            sha256sum "$script" tools/mend_wheels.py | cut -d ' ' -f 1
            "$venv/bin/python" -c 'import sys; print(sys.version, sys.prefix)') | sha256sum)"
if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
  echo "interfaces unchanged"
  exit 0
fi
"$venv/bin/python" tools/mend_wheels.py
# A half-finished build of another set of messages must not survive in this one.
rm -rf {build,install}/{molmoact_msgs,tf2_msgs} "$stamp"
# The run path lets a program load the interfaces without LD_LIBRARY_PATH (tests/conftest.py).
if ! PATH="$venv/bin:$PATH" VIRTUAL_ENV="$venv" AMENT_PREFIX_PATH="$venv" \
  CMAKE_PREFIX_PATH="$venv" PYTHONPATH='' \
  colcon --log-base log build --base-paths src/molmoact_msgs tools/wheel_interfaces \
  --build-base build --install-base install --event-handlers console_direct- \
  --cmake-args -DBUILD_TESTING=OFF "-DPython3_EXECUTABLE=$venv/bin/python" \
  "-DCMAKE_INSTALL_RPATH=\$ORIGIN;\$ORIGIN/../../..;$venv/lib" >"$log" 2>&1 9>&-; then
  tail -n 40 "$log" >&2
  echo "The interfaces did not build; the whole output is in $log." >&2
  echo "Without g++ or make: ./run setup names the packages to install." >&2
  exit 1
fi
echo "$wanted" >"$stamp"
echo "built molmoact_msgs and tf2_msgs into $here/install"
