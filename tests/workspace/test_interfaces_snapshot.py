"""The interfaces are a contract with every bag ever recorded: they change on purpose only."""

from __future__ import annotations

import importlib
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "molmoact_msgs"
FILES = sorted(path for kind in ("msg", "srv", "action") for path in (PACKAGE / kind).glob("*"))
PARTS = {
    "msg": ("",),
    "srv": ("Request", "Response"),
    "action": ("Goal", "Result", "Feedback"),
}


def _tool() -> ModuleType:
    path = ROOT / "tools" / "interfaces_snapshot.py"
    spec = importlib.util.spec_from_file_location("interfaces_snapshot", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_definitions_are_the_committed_ones() -> None:
    """A field renamed in passing would make old bags unreadable without anybody noticing."""
    committed = (ROOT / "tests" / "workspace" / "interfaces.txt").read_text(encoding="utf-8")
    assert _tool().snapshot(PACKAGE) == committed, (
        "molmoact_msgs changed: if that is meant, run tools/interfaces_snapshot.py and commit it"
    )


def test_every_definition_is_built() -> None:
    """A file that CMakeLists.txt forgets is missing on the robot only."""
    listed = set(
        re.findall(r'"((?:msg|srv|action)/\w+\.\w+)"', (PACKAGE / "CMakeLists.txt").read_text())
    )
    assert listed == {str(path.relative_to(PACKAGE)) for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_comments_do_not_open_c_comments(path: Path) -> None:
    """`/*` in a definition ends up in generated C and warns or breaks there."""
    assert "/*" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_built_classes_have_the_fields_of_the_definition(path: Path) -> None:
    """install/ built from other definitions would make every other ROS test lie."""
    kind = path.suffix[1:]
    built = getattr(importlib.import_module(f"molmoact_msgs.{kind}"), path.stem)
    text = "\n".join(_tool().definition(path))
    sections = re.split(r"(?m)^---$", text)
    assert len(sections) == len(PARTS[kind])
    for part, section in zip(PARTS[kind], sections, strict=True):
        message = getattr(built, part) if part else built
        declared = [line.split()[1] for line in section.splitlines() if line and "=" not in line]
        assert list(message.get_fields_and_field_types()) == declared
        for line in section.splitlines():
            constant = re.fullmatch(r"\w+ ([A-Z_]+)=(\d+)", line)
            if constant:
                assert getattr(message, constant[1]) == int(constant[2])


def test_modes_mean_the_same_everywhere() -> None:
    """The action, its service twin and the status share numbers; a mix-up would move the arm."""
    from molmoact_msgs.action import ExecuteInstruction
    from molmoact_msgs.srv import StartInstruction

    for name in ("AUTO", "REVIEW", "SHADOW"):
        assert getattr(ExecuteInstruction.Goal, name) == getattr(StartInstruction.Request, name)
