#!/usr/bin/env bash
# Build molmoact_msgs, and the tf2_msgs that the wheels lack, with colcon into install/, only when sources,
# the Python or the wheels' generator changed since the last build.
set -euo pipefail
script="$(readlink -f "${BASH_SOURCE[0]}")"
here="$(dirname "$(dirname "$script")")"
venv="${MOLMOACT_VENV:-$here/.venv}"
package="$here/src/molmoact_msgs"
extra="$here/tools/wheel_interfaces"
stamp="$here/install/.molmoact_msgs.sha256"
log="$here/log/build_messages.txt"

wanted="$( (cd "$here" && find src/molmoact_msgs tools/wheel_interfaces -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
            sha256sum <"$script"
            "$venv/bin/python" -c 'import sys; print(sys.version, sys.prefix)') | sha256sum)"
if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
  echo "interfaces unchanged"
  exit 0
fi
mkdir -p "$here/install" "$here/log"
"$venv/bin/python" "$here/tools/mend_wheels.py"
# A half-finished build of another set of messages must not survive in this one.
rm -rf "$here"/{build,install}/{molmoact_msgs,tf2_msgs}
cd "$here"
if ! PATH="$venv/bin:$PATH" VIRTUAL_ENV="$venv" AMENT_PREFIX_PATH="$venv" CMAKE_PREFIX_PATH="$venv" \
  PYTHONPATH= colcon --log-base "$here/log" build --base-paths "$package" "$extra" \
  --build-base "$here/build" --install-base "$here/install" \
  --event-handlers console_direct- --cmake-args -DBUILD_TESTING=OFF \
  "-DPython3_EXECUTABLE=$venv/bin/python" >"$log" 2>&1; then
  tail -n 40 "$log" >&2
  echo "molmoact_msgs did not build; the whole output is in $log. Missing g++ or cmake: ./run setup" >&2
  exit 1
fi
echo "$wanted" >"$stamp"
echo "built molmoact_msgs into $here/install"
