"""Arguments of a profile: their types, their texts, and ``${name}`` in a value."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

Scalar = bool | int | float | str
Value = bool | int | float | str | list[Any]

_REFERENCE = re.compile(r"\$\{(\w*)\}")
_TRUE = {"true", "yes", "on", "1"}
_FALSE = {"false", "no", "off", "0"}


class ProfileError(ValueError):
    """A profile, or what somebody passed to it, is wrong; the message says what to change."""


@dataclass(frozen=True)
class Argument:
    """What a person may set; its type is that of its default."""

    name: str
    default: Scalar
    description: str = ""
    choices: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The default as one types it: ``true``, not ``True``."""
        return as_text(self.default)

    def parse(self, text: str) -> Scalar:
        """``text`` as this argument's type. Raises ProfileError."""
        if self.choices and text not in self.choices:
            raise ProfileError(f"{self.name}={text!r}: pick one of {', '.join(self.choices)}")
        if isinstance(self.default, bool):
            lowered = text.strip().lower()
            if lowered not in _TRUE | _FALSE:
                raise ProfileError(f"{self.name}={text!r}: write true or false")
            return lowered in _TRUE
        if isinstance(self.default, (int, float)):
            kind = type(self.default)
            try:
                number = kind(text)
            except ValueError as error:
                wanted = "a whole number" if kind is int else "a number"
                raise ProfileError(f"{self.name}={text!r}: write {wanted}") from error
            if not math.isfinite(number):
                raise ProfileError(f"{self.name}={text!r}: write a finite number")
            return number
        return text


def is_scalar(value: object) -> TypeGuard[Scalar]:
    return isinstance(value, (bool, int, float, str))


def as_text(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def substitute(value: object, known: Mapping[str, Value], place: str) -> Value:
    """Replace ``${name}``; a value that is nothing else keeps the argument's type.

    Raises ProfileError for an unknown name and for anything ROS cannot hold as a parameter.
    """
    if isinstance(value, list):
        return [substitute(item, known, place) for item in value]
    if not isinstance(value, str):
        if is_scalar(value):
            return value
        raise ProfileError(
            f"{place}: {value!r} is no value; write a number, text, true, false or a list "
            "(nested parameters are written a.b: value)"
        )

    def look_up(match: re.Match[str]) -> Value:
        name = match.group(1)
        if name not in known:
            raise ProfileError(
                f"{place}: ${{{name}}} is not an argument; there are {', '.join(sorted(known))}"
            )
        return known[name]

    whole = _REFERENCE.fullmatch(value)
    if whole:
        return look_up(whole)
    return _REFERENCE.sub(lambda match: as_text(look_up(match)), value)
