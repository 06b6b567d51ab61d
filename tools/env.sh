# The environment of everything here: source it, or use `./run env` / `./run shell CMD`.
# Works from any folder; needs no ROS installation. On a robot with ROS 2 Jazzy source
# the workspace's own install/setup.bash instead.
MOLMOACT_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]:-$0}")/.." && pwd)"
VIRTUAL_ENV="${MOLMOACT_VENV:-$MOLMOACT_ROOT/.venv}"
_python_name="$(basename "$(ls -d "$VIRTUAL_ENV"/lib/python3.* 2>/dev/null | head -n 1)")"
_messages="$MOLMOACT_ROOT/install/molmoact_msgs"
_tf2="$MOLMOACT_ROOT/install/tf2_msgs"
export MOLMOACT_ROOT VIRTUAL_ENV
export PATH="$VIRTUAL_ENV/bin:$PATH"
# The source tree comes first, so that an edit counts without an installation.
export PYTHONPATH="$MOLMOACT_ROOT/src/molmoact_ros:$_messages/lib/${_python_name:-python3.11}/site-packages:$_tf2/lib/${_python_name:-python3.11}/site-packages"
export LD_LIBRARY_PATH="$_messages/lib:$_tf2/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export AMENT_PREFIX_PATH="$_messages:$_tf2:$VIRTUAL_ENV"
export RMW_IMPLEMENTATION=rmw_fastrtps_cpp
# Shared memory that holds pictures, see the file.
export FASTRTPS_DEFAULT_PROFILES_FILE="${FASTRTPS_DEFAULT_PROFILES_FILE:-$MOLMOACT_ROOT/config/fastdds.xml}"
# Nothing leaves this machine unless somebody asks for it.
export ROS_AUTOMATIC_DISCOVERY_RANGE="${ROS_AUTOMATIC_DISCOVERY_RANGE:-LOCALHOST}"
export MUJOCO_GL="${MUJOCO_GL:-egl}"
unset _python_name _messages _tf2
