"""Profiles: one YAML file per set-up says which processes run and with which values.

The launch files and `./run demo` read the same file, so the two cannot drift apart. A file
has four keys: ``profile`` (its name), ``notes`` (for a person), ``arguments`` and ``nodes``.
``${name}`` in a value stands for the argument ``name``; ``${config}`` for the folder of the file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from molmoact_ros.profile_values import (
    Argument,
    ProfileError,
    Value,
    as_text,
    is_scalar,
    substitute,
)

__all__ = ["Argument", "NodeSpec", "Profile", "ProfileError", "load_profile", "profile_path"]

PROFILE_KEYS = {"profile", "notes", "arguments", "nodes"}
ARGUMENT_KEYS = {"default", "description", "choices"}
NODE_KEYS = {
    "executable", "package", "namespace", "enabled", "ros", "parameters", "remappings", "args",
    "respawn",
}  # fmt: skip


@dataclass(frozen=True)
class NodeSpec:
    """One process to start.

    enabled: false when an argument switched it off; the entry is kept, so a list can show it.
    ros: false for a plain process that understands ``args`` only (the simulated arm).
    remappings: (name in the node, name in the graph) pairs.
    """

    name: str
    executable: str
    package: str = "molmoact_ros"
    namespace: str = ""
    enabled: bool = True
    ros: bool = True
    parameters: tuple[tuple[str, Value], ...] = ()
    remappings: tuple[tuple[str, str], ...] = ()
    args: tuple[str, ...] = ()
    respawn: bool = False

    def arguments(self) -> list[str]:
        """What follows the executable on a command line (rcl's ``--ros-args`` syntax)."""
        command = list(self.args)
        if not self.ros:
            return command
        command += ["--ros-args", "-r", f"__node:={self.name}"]
        if self.namespace:
            command += ["-r", f"__ns:={self.namespace}"]
        for source, target in self.remappings:
            command += ["-r", f"{source}:={target}"]
        for key, value in self.parameters:
            # rcl reads the value as YAML and JSON is YAML: a quoted "7" stays a string.
            command += ["-p", f"{key}:={json.dumps(value)}"]
        return command


@dataclass(frozen=True)
class Profile:
    """A set-up with every argument filled in. ``values``: argument name -> value."""

    name: str
    notes: str
    path: Path
    arguments: tuple[Argument, ...]
    values: Mapping[str, Value]
    nodes: tuple[NodeSpec, ...]

    def node(self, name: str) -> NodeSpec:
        """The node called ``name``. Raises ProfileError naming those there are."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise ProfileError(f"{self.path}: no node {name!r}; there are {_names(self.nodes)}")

    @property
    def enabled_nodes(self) -> tuple[NodeSpec, ...]:
        return tuple(node for node in self.nodes if node.enabled)


def profile_path(name: str) -> Path:
    """The file of a profile by name (``sim``), from the source tree or an installed share/.

    A path to a YAML file is returned as it is. Raises ProfileError when there is none.
    """
    given = Path(name)
    if given.suffix in (".yaml", ".yml"):
        if not given.is_file():
            raise ProfileError(f"{given}: no such profile; give an existing file or a plain name")
        return given
    looked = []
    for parent in Path(__file__).resolve().parents:
        for folder in (parent / "config", parent / "share" / "molmoact_ros" / "config"):
            found = folder / f"{name}.yaml"
            if found.is_file():
                return found
            looked.append(folder)
    known = sorted({path.stem for folder in looked for path in folder.glob("*.yaml")})
    raise ProfileError(f"no profile {name!r}; there are {', '.join(known) or 'none'}: pick one")


def read_arguments(path: Path) -> tuple[Argument, ...]:
    """Only the arguments of a profile, with their defaults: what a launch file declares."""
    document = _read(path)
    declared = _mapping(document.get("arguments"), f"{path}: arguments")
    return tuple(_argument(path, name, entry) for name, entry in declared.items())


def load_profile(path: Path | str, overrides: Mapping[str, str] | None = None) -> Profile:
    """Read a profile (a name or a file) and fill in its arguments.

    ``overrides``: argument name -> text, read as the type of the argument's default.
    Raises ProfileError with file, place and remedy for anything that is not understood.
    """
    path = profile_path(str(path))
    document = _read(path)
    arguments = read_arguments(path)
    values: dict[str, Value] = {item.name: item.default for item in arguments}
    by_name = {item.name: item for item in arguments}
    for name, text in (overrides or {}).items():
        if name not in by_name:
            known = ", ".join(sorted(by_name)) or "none"
            raise ProfileError(f"{path}: no argument {name!r}; there are {known}")
        values[name] = by_name[name].parse(text)
    entries = _mapping(document.get("nodes"), f"{path}: nodes")
    # The file's own folder is no argument: nobody should pass it, a file next to it needs it.
    known_values: dict[str, Value] = {**values, "config": str(path.resolve().parent)}
    nodes = tuple(_node(path, name, entry, known_values) for name, entry in entries.items())
    return Profile(
        name=str(document.get("profile", path.stem)),
        notes=str(document.get("notes", "")).strip(),
        path=path,
        arguments=arguments,
        values=values,
        nodes=nodes,
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ProfileError(f"{path}: cannot be read ({error}); give an existing file") from error
    except yaml.YAMLError as error:
        raise ProfileError(f"{path}: not valid YAML: {error}; mend that line") from error
    document = _mapping(document, str(path))
    _known_keys(document, PROFILE_KEYS, str(path))
    return document


def _argument(path: Path, name: str, entry: object) -> Argument:
    place = f"{path}: argument {name!r}"
    fields = _mapping(entry, place)
    _known_keys(fields, ARGUMENT_KEYS, place)
    default = fields.get("default")
    if not is_scalar(default):
        raise ProfileError(f"{place}: default is {default!r}; give a number, text, true or false")
    choices = fields.get("choices", [])
    if not isinstance(choices, list) or not all(isinstance(item, str) for item in choices):
        raise ProfileError(f"{place}: choices must be a list of texts, found {choices!r}")
    if choices and default not in choices:
        raise ProfileError(f"{place}: the default {default!r} is not one of {choices}; add it")
    return Argument(name, default, str(fields.get("description", "")), tuple(choices))


def _node(path: Path, name: str, entry: object, values: Mapping[str, Value]) -> NodeSpec:
    place = f"{path}: node {name!r}"
    fields = _mapping(entry, place)
    _known_keys(fields, NODE_KEYS, place)
    if not isinstance(fields.get("executable"), str):
        raise ProfileError(f"{place}: no executable; add executable: <name in its package>")
    parameters = _mapping(fields.get("parameters"), f"{place}: parameters")
    remappings = _mapping(fields.get("remappings"), f"{place}: remappings")
    return NodeSpec(
        name=name,
        executable=fields["executable"],
        package=str(fields.get("package", "molmoact_ros")),
        namespace=str(fields.get("namespace", "")),
        enabled=_enabled(fields.get("enabled", True), values, place),
        ros=bool(fields.get("ros", True)),
        parameters=tuple((k, substitute(v, values, place)) for k, v in parameters.items()),
        remappings=tuple((k, as_text(substitute(v, values, place))) for k, v in remappings.items()),
        args=tuple(as_text(substitute(item, values, place)) for item in fields.get("args") or ()),
        respawn=bool(fields.get("respawn", False)),
    )


def _enabled(wanted: object, values: Mapping[str, Value], place: str) -> bool:
    """A node runs when every switch it names is true."""
    switches = wanted if isinstance(wanted, list) else [wanted]
    result = True
    for switch in switches:
        value = values.get(switch) if isinstance(switch, str) else switch
        if not isinstance(value, bool):
            raise ProfileError(
                f"{place}: enabled is {switch!r}; write true, false or the name of an argument "
                "whose default is true or false"
            )
        result = result and value
    return result


def _mapping(value: object, place: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ProfileError(f"{place}: expected `name: value` lines, found {value!r}")
    return value


def _known_keys(found: Mapping[str, Any], known: set[str], place: str) -> None:
    unknown = sorted(set(found) - known)
    if unknown:
        raise ProfileError(f"{place}: unknown key {unknown[0]!r}; use one of {sorted(known)}")


def _names(nodes: tuple[NodeSpec, ...]) -> str:
    return ", ".join(node.name for node in nodes)


def profile_argument(text: str) -> tuple[str, str]:
    """name:=value as ``ros2 launch`` takes it. Raises ProfileError."""
    name, sign, value = text.partition(":=")
    if not (name and sign):
        raise ProfileError(f"'{text}': write arguments of config/sim.yaml as NAME:=VALUE")
    return name, value
