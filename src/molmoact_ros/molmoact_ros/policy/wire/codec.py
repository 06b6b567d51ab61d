"""Messages as msgpack, with arrays and without pickle.

An array is a map of exactly three keys: ``dtype`` (a name of DTYPES, little-endian), ``shape``
and ``data`` (its bytes in C order). Nothing else of msgpack but plain values is read: no
extension types, no time stamps, no bare binary but pictures. Every limit is checked before
memory is taken, because the other end may be anybody.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

DTYPES: dict[str, np.dtype[Any]] = {
    "uint8": np.dtype("u1"),
    "int32": np.dtype("<i4"),
    "int64": np.dtype("<i8"),
    "float32": np.dtype("<f4"),
    "float64": np.dtype("<f8"),
}
_ARRAY_KEYS = {"dtype", "shape", "data"}
MAX_SIDE = 65_535
"""Entries along one dimension: the largest side of a JPEG, far above any camera."""


class WireError(ValueError):
    """A message that is not understood; one sentence that names the finding and the remedy."""


@dataclass(frozen=True)
class Limits:
    """What a message may hold.

    message_bytes: whole message; two raw pictures of 1280x720 take 5.3 MiB. containers: lists and
    maps together. items: entries of one list or map. depth: lists and maps inside each other.
    text: bytes of one text. arrays: arrays of one message. ndim: dimensions of an array.
    """

    message_bytes: int = 16 * 2**20
    containers: int = 256
    items: int = 256
    depth: int = 8
    text: int = 64 * 2**10
    arrays: int = 16
    ndim: int = 4


DEFAULT_LIMITS = Limits()
Decode = Callable[[dict[Any, Any]], Any]
"""Turns a map that stands for an array into it; returns any other map as it is."""


def pack(message: Mapping[str, Any]) -> bytes:
    """A message of plain values and arrays (DTYPES) as bytes. Raises WireError for other values."""
    try:
        return bytes(msgpack.packb(message, default=_array_map, use_bin_type=True))
    except (TypeError, ValueError, OverflowError) as error:
        raise WireError(f"the message cannot be sent: {error}; send plain values") from error


def unpack(data: bytes | str, limits: Limits = DEFAULT_LIMITS) -> dict[str, Any]:
    """The message in ``data``: a map with text keys. Raises WireError for anything else."""
    message = unpack_any(data, limits, array_of)
    if not isinstance(message, dict) or not all(isinstance(key, str) for key in message):
        raise WireError(
            f"the message is a {type(message).__name__}, expected a map with text keys; "
            "see docs/policy_server.md"
        )
    return message


def unpack_any(data: bytes | str, limits: Limits, decode: Decode) -> Any:
    """Any allowed value; ``decode`` recognises the maps that stand for arrays."""
    if isinstance(data, str):
        raise WireError("a text message came, expected binary msgpack; send it as binary")
    if len(data) > limits.message_bytes:
        raise WireError(
            f"the message has {len(data)} bytes, the limit is {limits.message_bytes}; send smaller "
            "pictures or JPEG"
        )
    count = _Count(limits.containers)
    try:
        value = msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=True,
            ext_hook=_refuse_extension,
            object_pairs_hook=count.of_map,
            list_hook=count.of_list,
            max_str_len=limits.text,
            max_bin_len=limits.message_bytes,
            max_array_len=limits.items,
            max_map_len=limits.items,
            max_ext_len=0,
        )
    except WireError:
        raise
    # FormatError, StackError and ExtraData are ValueErrors; OutOfData and TypeError are not.
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        words = str(error) or type(error).__name__
        raise WireError(f"not a valid msgpack message ({words}); send one whole map") from None
    return _Reader(limits, decode).read(value, limits.depth)


def array_of(entry: dict[Any, Any]) -> Any:
    """The array a map stands for, or the map. Raises WireError for a damaged array."""
    if entry.keys() != _ARRAY_KEYS:
        return entry
    return build_array(entry["dtype"], DTYPES, entry["shape"], entry["data"])


def build_array(
    name: object, dtypes: Mapping[str, np.dtype[Any]], shape: object, data: object
) -> NDArray[Any]:
    """An array of its own memory. Raises WireError unless dtype, shape and bytes agree."""
    dtype = dtypes.get(name) if isinstance(name, str) else None
    if dtype is None:
        raise WireError(f"arrays of dtype {str(name)[:40]!r} are refused; use {', '.join(dtypes)}")
    if not isinstance(shape, list) or not all(type(n) is int and 0 <= n <= MAX_SIDE for n in shape):
        raise WireError("an array's shape is no list of whole numbers; send e.g. [240, 320, 3]")
    if len(shape) > DEFAULT_LIMITS.ndim:
        raise WireError(f"an array has {len(shape)} dimensions, the limit is {DEFAULT_LIMITS.ndim}")
    wanted = math.prod(shape) * dtype.itemsize
    if not isinstance(data, bytes) or len(data) != wanted:
        found = f"{len(data)} bytes" if isinstance(data, bytes) else type(data).__name__
        raise WireError(f"an array {shape} of {dtype} needs {wanted} bytes, {found} came")
    # The copy is aligned, writable and does not keep the whole message alive.
    array: NDArray[Any] = np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))
    return array


class _Reader:
    """Turns decoded msgpack into plain values and arrays, within the limits."""

    def __init__(self, limits: Limits, decode: Decode) -> None:
        self._arrays, self._decode = limits.arrays, decode

    def read(self, value: Any, depth: int) -> Any:
        if value is None or isinstance(value, (bool, int, float, str, bytes)):
            return value
        if not isinstance(value, (list, dict)):
            raise WireError(f"a {type(value).__name__} came; send plain values and arrays only")
        if depth == 0:
            raise WireError("lists and maps are nested too deeply; send a flat message")
        if isinstance(value, list):
            return [self.read(item, depth - 1) for item in value]
        decoded = self._decode(value)
        if isinstance(decoded, np.ndarray):
            self._arrays -= 1
            if self._arrays < 0:
                raise WireError("the message holds too many arrays; send one per camera")
        if decoded is not value:
            return decoded
        return {key: self.read(item, depth - 1) for key, item in value.items()}


class _Count:
    """Counts lists and maps while msgpack builds them: the only place early enough to stop."""

    def __init__(self, limit: int) -> None:
        self._left = limit

    def of_list(self, items: list[Any]) -> list[Any]:
        self._take()
        return items

    def of_map(self, pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
        self._take()
        entries = dict(pairs)
        if len(entries) != len(pairs):
            raise WireError("a map holds the same key twice; send each key once")
        return entries

    def _take(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise WireError("the message holds too many lists and maps; send a flat message")


def _refuse_extension(code: int, data: bytes) -> Any:
    raise WireError(f"msgpack extension type {code} is refused; send plain values and arrays")


def _array_map(value: object) -> dict[str, Any]:
    if isinstance(value, np.ndarray) and value.dtype.name in DTYPES:
        ordered = np.ascontiguousarray(value, DTYPES[value.dtype.name])
        return {"dtype": value.dtype.name, "shape": list(value.shape), "data": ordered.tobytes()}
    raise TypeError(f"{type(value).__name__} {getattr(value, 'dtype', '')}".strip())
