"""Serialized messages to plain objects by their definition text; no message type is installed."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from mcap.records import Schema
from mcap_ros2.decoder import DecoderFactory

from molmoact_ros.bags.definitions import load_definition


def decoder(schema: Schema) -> Callable[[bytes], Any]:
    """Bytes -> object with the message's fields as attributes. Raises ValueError."""
    found = DecoderFactory().decoder_for("cdr", schema)
    if found is None:
        raise ValueError(
            f"{schema.name} is described by '{schema.encoding}', expected ros2msg; record it again"
        )
    return found


@lru_cache(maxsize=64)
def installed_decoder(type_: str) -> Callable[[bytes], Any]:
    """For a type of this machine's AMENT_PREFIX_PATH. Raises UnknownType."""
    definition = load_definition(type_)
    return decoder(Schema(1, definition.text.encode(), "ros2msg", type_))


def stamp_seconds(message: Any) -> float:
    """Stamp of a message with a header, in seconds."""
    stamp = message.header.stamp
    return float(stamp.sec) + float(stamp.nanosec) * 1e-9
