"""What a bag must say about a type: its whole definition as text, and its RIHS01 hash (REP-2011).

Both come from the files every ROS 2 interface package installs, share/<package>/msg/<Name>.msg
and .json, so that this works for any type and without importing one.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

SEPARATOR = "=" * 80
_FIELD = re.compile(r"^\s*([A-Za-z][\w/]*)(?:<=\d+)?(?:\[[^\]]*\])?\s+\w+")
_PRIMITIVES = {
    "bool", "byte", "char", "float32", "float64", "int8", "uint8", "int16", "uint16", "int32",
    "uint32", "int64", "uint64", "string", "wstring",
}  # fmt: skip


class UnknownType(LookupError):
    """A type whose package is not installed; the message says what to install."""


@dataclass(frozen=True)
class TypeDefinition:
    """name: ``sensor_msgs/msg/Image``. text: ros2msg with all nested types. hash: RIHS01_..."""

    name: str
    text: str
    hash: str

    @property
    def stamped(self) -> bool:
        """Whether the first field is a std_msgs/Header, whose stamp can then be read."""
        for line in self.text.split(SEPARATOR)[0].splitlines():
            field = _FIELD.match(line.split("#")[0])
            if field and "=" not in line.split("#")[0]:
                return field.group(1) in ("std_msgs/Header", "std_msgs/msg/Header")
        return False


def load_definition(name: str, prefixes: Sequence[Path] | None = None) -> TypeDefinition:
    """The definition of ``package/msg/Name`` from ``prefixes`` (default: AMENT_PREFIX_PATH).

    Raises UnknownType with what to install.
    """
    found = tuple(prefixes) if prefixes is not None else _ament_prefixes()
    return _load(name, found)


@lru_cache(maxsize=256)
def _load(name: str, prefixes: tuple[Path, ...]) -> TypeDefinition:
    own = _read(name, "msg", prefixes)
    parts, seen, queue = [own], {name}, _nested(own, name)
    while queue:
        inner = queue.pop(0)
        if inner in seen:
            continue
        seen.add(inner)
        text = _read(inner, "msg", prefixes)
        package, _, short = inner.split("/")
        parts.append(f"{SEPARATOR}\nMSG: {package}/{short}\n{text}")
        queue += _nested(text, inner)
    described = json.loads(_read(name, "json", prefixes))
    hashes = {h["type_name"]: h["hash_string"] for h in described.get("type_hashes", [])}
    if name not in hashes:
        raise UnknownType(f"{name}: its .json holds no type hash; install a ROS 2 of Iron or later")
    return TypeDefinition(name, "\n".join(parts), hashes[name])


def _nested(text: str, owner: str) -> list[str]:
    """Full names of the types of all fields, in order."""
    names = []
    for line in text.splitlines():
        field = _FIELD.match(line.split("#")[0])
        if not field or field.group(1) in _PRIMITIVES:
            continue
        parts = field.group(1).split("/")
        package = parts[0] if len(parts) > 1 else owner.split("/")[0]
        names.append(f"{package}/msg/{parts[-1]}")
    return names


def _read(name: str, kind: str, prefixes: tuple[Path, ...]) -> str:
    parts = name.split("/")
    if len(parts) != 3 or parts[1] != "msg":
        raise UnknownType(f"'{name}' is no message type; write it as package/msg/Name")
    for prefix in prefixes:
        path = prefix / "share" / parts[0] / "msg" / f"{parts[2]}.{kind}"
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise UnknownType(
        f"{name}: no {parts[0]}/msg/{parts[2]}.{kind} in {len(prefixes)} folders of "
        f"AMENT_PREFIX_PATH; install ros-jazzy-{parts[0].replace('_', '-')} or source its workspace"
    )


def _ament_prefixes() -> tuple[Path, ...]:
    return tuple(Path(p) for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p)
