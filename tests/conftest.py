"""What every test gets: the ROS interfaces of install/, and a ROS graph of its own.

`./run test` prepares the same things; doing it here lets `.venv/bin/pytest tests/...` work from
an editor too. Without built interfaces, ROS tests fail on their import with the remedy in README.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Before any import of numpy or torch: one core a test run, the machine has few.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MUJOCO_GL", "egl")
# A graph of its own, closed to the network: another robot's topics must not reach a test.
os.environ.pop("ROS_LOCALHOST_ONLY", None)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ.setdefault("ROS_DOMAIN_ID", str(10 + os.getpid() % 90))


def _prepend(name: str, entries: list[str]) -> None:
    """Put what is missing in front, for the child processes that tests start."""
    old = [item for item in os.environ.get(name, "").split(os.pathsep) if item]
    os.environ[name] = os.pathsep.join([*(item for item in entries if item not in old), *old])


def _use_interfaces() -> None:
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    prefixes = sorted(path.parent for path in (ROOT / "install").glob("*_msgs/lib"))
    site_packages = [str(prefix / "lib" / python / "site-packages") for prefix in prefixes]
    paths = [str(ROOT / "src" / "molmoact_ros"), *site_packages]
    sys.path[:0] = [path for path in paths if path not in sys.path]
    _prepend("PYTHONPATH", paths)
    _prepend("LD_LIBRARY_PATH", [str(prefix / "lib") for prefix in prefixes])
    _prepend("AMENT_PREFIX_PATH", [*map(str, prefixes), sys.prefix])
    os.environ.setdefault("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp")
    os.environ.setdefault("FASTRTPS_DEFAULT_PROFILES_FILE", str(ROOT / "config" / "fastdds.xml"))


def _preload_interfaces() -> None:
    """The dynamic linker read LD_LIBRARY_PATH at the start; what is loaded it finds by name."""
    for _ in range(2):  # the libraries of a package need each other, in no order we know
        for library in sorted((ROOT / "install").glob("*_msgs/lib/*.so")):
            try:
                ctypes.CDLL(str(library))
            except OSError:
                continue


_use_interfaces()
if "rclpy" not in sys.modules:
    try:
        import rclpy  # noqa: F401  loads the libraries the interfaces need
    except ImportError:
        pass
    else:
        _preload_interfaces()
