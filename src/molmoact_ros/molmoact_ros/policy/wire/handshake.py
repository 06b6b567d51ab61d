"""The first words of a connection: the server says what it is, the robot what it expects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields as dataclass_fields
from typing import Any, TypeVar, get_type_hints

from molmoact_ros.policy.startup_checks import ModelDescription, RobotDescription
from molmoact_ros.policy.wire import fields
from molmoact_ros.policy.wire.codec import WireError

PROTOCOL = 2
MAX_ROWS, MAX_DIMS, MAX_CAMERAS = 256, 64, 8

Described = TypeVar("Described", RobotDescription, ModelDescription)


def hello(model: ModelDescription) -> dict[str, Any]:
    """Server to robot, directly after the connection is open."""
    return {"type": "hello", "protocol": PROTOCOL, "model": to_wire(model)}


def expect(robot: RobotDescription) -> dict[str, Any]:
    """Robot to server, the answer to ``hello``."""
    return {"type": "expect", "protocol": PROTOCOL, "robot": to_wire(robot)}


def read_hello(message: Mapping[str, Any]) -> ModelDescription:
    """Raises WireError for another protocol or a description that makes no sense."""
    _check_protocol(message, "hello", "model")
    model = from_wire(ModelDescription, fields.table(message, "model"))
    if not (1 <= model.rows <= MAX_ROWS and 1 <= model.dims <= MAX_DIMS):
        raise WireError(
            f"the server's chunk is {model.rows}x{model.dims}; expected 1..{MAX_ROWS} rows of "
            f"1..{MAX_DIMS} numbers: use a server of this version"
        )
    if not len(model.action_names) == len(model.action_units) == model.dims:
        raise WireError(
            f"the server names {len(model.action_names)} actions with {len(model.action_units)} "
            f"units for {model.dims} numbers; use a server of this version"
        )
    return model


def read_expect(message: Mapping[str, Any]) -> RobotDescription:
    """Raises WireError for another protocol or a description that makes no sense."""
    _check_protocol(message, "expect", "robot")
    return from_wire(RobotDescription, fields.table(message, "robot"))


def to_wire(described: RobotDescription | ModelDescription) -> dict[str, Any]:
    """A description as a map of its fields."""
    return {f.name: _plain(getattr(described, f.name)) for f in dataclass_fields(described)}


def from_wire(kind: type[Described], message: Mapping[str, Any]) -> Described:
    """The description in a map that holds every field. Raises WireError."""
    hints = get_type_hints(kind)
    fields.only(message, hints.keys())
    return kind(**{name: _READERS[hint](message, name) for name, hint in hints.items()})


def _check_protocol(message: Mapping[str, Any], kind: str, body: str) -> None:
    if message.get("type") != kind:
        raise WireError(f"a {message.get('type')!r} message came, expected {kind!r} first")
    version = message.get("protocol")
    if type(version) is not int or version != PROTOCOL:
        raise WireError(
            f"the other end speaks protocol {version!r}, this one {PROTOCOL}; install the same "
            "version of molmoact_ros on both machines"
        )
    fields.only(message, ("type", "protocol", body))


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _texts(message: Mapping[str, Any], key: str) -> tuple[str, ...]:
    entries = fields.items(message, key)
    if len(entries) > MAX_DIMS:
        raise WireError(f"field {key!r} has {len(entries)} names; send at most {MAX_DIMS}")
    return tuple(fields.text({key: entry}, key) for entry in entries)


def _size(message: Mapping[str, Any], key: str) -> tuple[int, int]:
    entries = fields.items(message, key)
    if len(entries) != 2:
        raise WireError(f"field {key!r} has {len(entries)} numbers; send [width, height]")
    width, height = (fields.whole({key: entry}, key, 1, 65_535) for entry in entries)
    return width, height


def _size_or_none(message: Mapping[str, Any], key: str) -> tuple[int, int] | None:
    return None if message.get(key) is None else _size(message, key)


def _sizes(message: Mapping[str, Any], key: str) -> tuple[tuple[int, int], ...]:
    entries = fields.items(message, key)
    if len(entries) > MAX_CAMERAS:
        raise WireError(f"field {key!r} has {len(entries)} cameras; send at most {MAX_CAMERAS}")
    return tuple(_size({key: entry}, key) for entry in entries)


_READERS: dict[Any, Callable[[Mapping[str, Any], str], Any]] = {
    str: fields.text,
    int: fields.whole,
    float: fields.number,
    bool: fields.flag,
    tuple[str, ...]: _texts,
    tuple[int, int] | None: _size_or_none,
    tuple[tuple[int, int], ...]: _sizes,
}
