"""Reads one field of a message, or says in a sentence what is wrong with it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.policy.wire.codec import WireError

MAX_NUMBER = 2**53
MAX_WORDS = 1000
"""Characters of a name or sentence; an answer's text is longer and says so."""


def only(message: Mapping[str, Any], known: Collection[str]) -> None:
    """Raises WireError for a key that is not ``known``: a typing error must not be ignored."""
    for key in message:
        if key not in known:
            raise WireError(f"unknown field {key[:40]!r}; use {', '.join(sorted(known))}")


def text(message: Mapping[str, Any], key: str, limit: int = MAX_WORDS) -> str:
    """A text of at most ``limit`` characters."""
    value = message.get(key)
    if not isinstance(value, str) or len(value) > limit:
        found = f"{len(value)} characters" if isinstance(value, str) else _kind(message, key)
        raise WireError(f"field {key!r} is {found}; send a text of at most {limit} characters")
    return value


def whole(message: Mapping[str, Any], key: str, low: int = 0, high: int = MAX_NUMBER) -> int:
    """A whole number in ``low``..``high``."""
    value = message.get(key)
    if type(value) is not int or not low <= value <= high:
        raise WireError(
            f"field {key!r} is {_shown(message, key)}; send a whole number from {low} to {high}"
        )
    return value


def number(message: Mapping[str, Any], key: str) -> float:
    """A finite number."""
    value: Any = message.get(key)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    # The comparison is false for NaN, and keeps integers out that no float can hold.
    if not is_number or not abs(value) <= MAX_NUMBER:
        raise WireError(f"field {key!r} is {_shown(message, key)}; send a finite number")
    return float(value)


def flag(message: Mapping[str, Any], key: str) -> bool:
    """True or false."""
    value = message.get(key)
    if not isinstance(value, bool):
        raise WireError(f"field {key!r} is {_shown(message, key)}; send true or false")
    return value


def items(message: Mapping[str, Any], key: str) -> list[Any]:
    """A list."""
    value = message.get(key)
    if not isinstance(value, list):
        raise WireError(f"field {key!r} is {_kind(message, key)}; send a list")
    return value


def table(message: Mapping[str, Any], key: str) -> dict[str, Any]:
    """A map with text keys."""
    value = message.get(key)
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise WireError(f"field {key!r} is {_kind(message, key)}; send a map with text keys")
    return value


def array(
    message: Mapping[str, Any], key: str, dtype: str, shape: tuple[int | None, ...]
) -> NDArray[Any]:
    """A finite array of ``dtype``; None in ``shape`` stands for any number of entries."""
    value = message.get(key)
    wanted = f"{dtype} {['any' if n is None else n for n in shape]}"
    if not isinstance(value, np.ndarray):
        raise WireError(f"field {key!r} is {_kind(message, key)}; send an array {wanted}")
    fits = len(value.shape) == len(shape) and all(
        n is None or n == found for n, found in zip(shape, value.shape, strict=True)
    )
    if value.dtype.name != dtype or not fits:
        raise WireError(f"field {key!r} is {value.dtype} {list(value.shape)}; send {wanted}")
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        raise WireError(f"field {key!r} holds NaN or infinity; send finite numbers")
    return value


def seconds(message: Mapping[str, Any], key: str) -> dict[str, float]:
    """Stage name -> seconds, at most 64 stages."""
    found = table(message, key)
    values = {name[:64]: number(found, name) for name in found}
    if len(values) > 64:
        raise WireError(f"field {key!r} has {len(values)} stages; send at most 64")
    return values


def _shown(message: Mapping[str, Any], key: str) -> str:
    value = message.get(key)
    return repr(value)[:40] if isinstance(value, (int, float, str)) else _kind(message, key)


def _kind(message: Mapping[str, Any], key: str) -> str:
    return "missing" if message.get(key) is None else type(message[key]).__name__
