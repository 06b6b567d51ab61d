"""`colcon build` of the whole workspace, as on a robot: what ros2 run and ros2 launch look for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COLCON = Path(sys.executable).parent / "colcon"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def _build(base: Path, *options: str) -> Path:
    """Build into ``base`` only; returns the install folder."""
    environment = {
        **{key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        "VIRTUAL_ENV": sys.prefix,
        "PATH": f"{COLCON.parent}:{os.environ['PATH']}",
        "AMENT_PREFIX_PATH": sys.prefix,
        "CMAKE_PREFIX_PATH": sys.prefix,
    }
    assert COLCON.is_file(), "colcon is missing: run ./run setup"
    command = [str(COLCON), "--log-base", str(base / "log"), "build"]
    command += ["--build-base", str(base / "build"), "--install-base", str(base / "install")]
    done = subprocess.run(
        [*command, *options], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return base / "install"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Both packages built from the source tree into a scratch folder."""
    base = tmp_path_factory.mktemp("colcon")
    yield _build(
        base,
        *("--base-paths", str(ROOT), "--packages-select", "molmoact_msgs", "molmoact_ros"),
        *("--cmake-args", "-DBUILD_TESTING=OFF", f"-DPython3_EXECUTABLE={sys.executable}"),
    )
    shutil.rmtree(base, ignore_errors=True)


def test_colcon_finds_exactly_our_packages() -> None:
    """The tf2_msgs we build for the wheels must not replace the robot's own."""
    done = subprocess.run(
        [str(COLCON), "--log-base", os.devnull, "list", "--names-only", "--base-paths", str(ROOT)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert sorted(done.stdout.split()) == ["molmoact_msgs", "molmoact_ros"]


def test_share_holds_launch_files_and_profiles(installed: Path) -> None:
    """ros2 launch looks nowhere else."""
    share = installed / "molmoact_ros" / "share" / "molmoact_ros"
    for folder, pattern in {"launch": "*.launch.py", "config": "*"}.items():
        wanted = {path.name for path in (ROOT / folder).glob(pattern)}
        assert wanted
        assert {path.name for path in (share / folder).iterdir()} == wanted
    assert (share / "package.xml").is_file()
    index = installed / "molmoact_ros" / "share" / "ament_index" / "resource_index" / "packages"
    assert (index / "molmoact_ros").is_file()


def test_programs_are_where_ros2_run_looks(installed: Path) -> None:
    programs = {path.name for path in (installed / "molmoact_ros/lib/molmoact_ros").iterdir()}
    assert programs >= {"policy", "commander", "franka", "viewer", "steering", "sim_cameras",
                        "sim_arm", "molmoact"}  # fmt: skip


def test_package_data_is_installed(installed: Path) -> None:
    """The page, the symbols and the weights are read at run time; a wheel without them starts
    and fails later."""
    source = ROOT / "src" / "molmoact_ros" / "molmoact_ros"
    target = next(installed.glob("molmoact_ros/lib/python3*/site-packages/molmoact_ros"))
    kept = {".py", ".json", ".txt", ".html", ".js", ".css", ".safetensors", ".svg", ".md", ".yaml"}
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "."], cwd=source, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    wanted = {name for name in listed if Path(name).suffix in kept and (source / name).is_file()}
    assert wanted
    assert {name for name in wanted if not (target / name).is_file()} == set()


def test_an_installed_profile_is_found(installed: Path) -> None:
    """The search for config/ starts at the module, which lies elsewhere once installed."""
    site_packages = next(installed.glob("molmoact_ros/lib/python3*/site-packages"))
    done = subprocess.run(
        [sys.executable, "-c", "from molmoact_ros.profile import load_profile as l;"
         "import molmoact_ros; p = l('sim'); print(molmoact_ros.__file__); print(p.path)"],
        capture_output=True, text=True, check=True, cwd="/",
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(site_packages)},
    )  # fmt: skip
    module, path = done.stdout.split()
    assert module.startswith(str(installed))
    assert path == str(installed / "molmoact_ros/share/molmoact_ros/config/sim.yaml")


def test_symlink_install_stays_in_its_folders(tmp_path: Path) -> None:
    """Developers build with --symlink-install: data files named with ../ would then be linked
    outside the build folder, over whatever is there."""
    package = ROOT / "src" / "molmoact_ros"
    install = _build(tmp_path, "--symlink-install", "--base-paths", str(package))
    share = install / "molmoact_ros" / "share" / "molmoact_ros"
    assert (share / "launch" / "demo.launch.py").samefile(ROOT / "launch" / "demo.launch.py")
    assert (share / "config" / "sim.yaml").samefile(ROOT / "config" / "sim.yaml")
    assert {path.name for path in tmp_path.iterdir()} == {"build", "install", "log"}
