"""The data card: every choice that a data set, its checkpoint and the robot must agree about.

One card travels with the data, the statistics, the checkpoint and the robot's profile. Whoever
reads it compares instead of guessing; ``differences`` names what does not fit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

from molmoact_ros.reasoning.gripper import gripper_to_training
from molmoact_ros.reasoning.prompts import Wording

CARD_FILE = "card.json"
TRACE_SOURCES = ("tf", "fk", "molmo", "none")
DEPTH_SOURCES = ("sensor", "estimate", "none")
_TRAVELS = (
    "gripper_raw", "gripper_dims", "delta_frame", "euler", "fps", "chunk", "cameras",
    "image_size", "center_crop", "crop_moves_trace", "idle_metres", "idle_radians",
    "depth_source", "depth_codebook", "trace_source",
)  # fmt: skip
_SOURCES = ("depth_source", "trace_source")
_CHOICES: dict[str, tuple[object, ...]] = {
    "delta_frame": ("base", "tool"),
    "euler": ("xyz-extrinsic",),
    "action_source": ("command", "measured"),
    "trace_source": TRACE_SOURCES,
    "depth_source": DEPTH_SOURCES,
    "end_padding": ("zero", "repeat"),
}


class BadCard(ValueError):
    """A card that cannot be used; says which field, what was found and what to write."""


@dataclass(frozen=True)
class DataCard:
    """Lengths in metres, angles in radians, times in seconds, sizes in pixels.

    name: statistics key. cameras: external view first; depth and trace belong to it.
    gripper_raw: convention of gripper.py; gripper_dims: columns that are never scaled.
    action_source: differences of the commanded or of the measured pose.
    idle_*: a tick that moves less is dropped unless it follows a gripper command
    (keep_after_grip) or starts the rest at the end (keep_at_end). end_padding: what rows behind
    the last tick do. center_crop: area of the picture that training left over (1: all of it).
    crop_moves_trace: trace points follow a random crop. depth_codebook: digest of the VQ-VAE.
    """

    name: str = "molmoact_ros"
    fps: float = 15.0
    chunk: int = 8
    cameras: tuple[str, ...] = ("external", "wrist")
    image_size: tuple[int, int] = (320, 240)
    jpeg_quality: int = 92
    gripper_raw: str = "1open_0closed"
    gripper_dims: tuple[int, ...] = (6,)
    delta_frame: str = "base"
    euler: str = "xyz-extrinsic"
    action_source: str = "command"
    idle_metres: float = 2e-4
    idle_radians: float = 1e-3
    keep_after_grip: float = 1.5
    keep_at_end: float = 0.5
    end_padding: str = "zero"
    trace_source: str = "tf"
    depth_source: str = "sensor"
    depth_codebook: str = ""
    center_crop: float = 1.0
    crop_moves_trace: bool = True
    success_required: bool = True
    software: str = ""

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                words = ", ".join(map(str, choices))
                raise BadCard(f"card: {name} is {getattr(self, name)!r}; use one of {words}")
        gripper_to_training([0.0], self.gripper_raw)
        problems = {
            "fps": not 1.0 <= self.fps <= 200.0,
            "chunk": not 1 <= self.chunk <= 64,
            "cameras": not 1 <= len(set(self.cameras)) == len(self.cameras) <= 3,
            "image_size": not all(32 <= side <= 2048 for side in self.image_size),
            "jpeg_quality": not 50 <= self.jpeg_quality <= 100,
            "center_crop": not 0.25 <= self.center_crop <= 1.0,
            "idle_metres": self.idle_metres < 0.0 or self.idle_radians < 0.0,
        }
        for name, wrong in problems.items():
            if wrong:
                raise BadCard(f"card: {name} is {getattr(self, name)!r}, out of range; correct it")

    @property
    def wording(self) -> Wording:
        """Of a reasoning answer: one picture or several."""
        return "single" if len(self.cameras) == 1 else "multi"

    @property
    def digest(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of all fields."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def travelling(self) -> dict[str, Any]:
        """What goes into the statistics file and from there into a checkpoint's config.json."""
        fields_ = {name: _plain(getattr(self, name)) for name in _TRAVELS}
        return {**fields_, "card": self.digest}

    def save(self, folder: Path) -> None:
        text = json.dumps({k: _plain(v) for k, v in asdict(self).items()}, indent=1)
        (folder / CARD_FILE).write_text(text + "\n", encoding="utf-8")


def load_card(folder: Path) -> DataCard:
    """The card of a data set. Raises BadCard."""
    path = folder / CARD_FILE
    try:
        return card_from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BadCard(f"{path}: cannot be read ({error}); run molmoact label again") from error


def card_from_dict(values: Any, base: DataCard | None = None) -> DataCard:
    """Fields over those of ``base``. Raises BadCard for an unknown field or a wrong type."""
    if not isinstance(values, Mapping):
        raise BadCard(f"card: expected fields with values, found {type(values).__name__}")
    hints = get_type_hints(DataCard)
    known = {field.name for field in fields(DataCard)}
    found: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            raise BadCard(f"card: unknown field {name!r}; known: {', '.join(sorted(known))}")
        if isinstance(value, list):
            value = tuple(value)
        if hints[name] is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        wanted = tuple if "tuple" in str(hints[name]) else hints[name]
        if not isinstance(value, wanted):
            raise BadCard(f"card: {name} is {value!r}, expected {hints[name]}")
        found[name] = value
    return replace(base or DataCard(), **found)


def differences(card: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Sentences about travelling fields that both have and that differ; empty when they agree.

    Where depth and traces come from may differ; whether there are any may not, because another
    question is asked without them. Codebooks are compared where both have depth.
    """
    blind = "none" in (card.get("depth_source"), other.get("depth_source"))
    return [
        f"{name} is {_plain(other[name])!r} but the training data had {_plain(card[name])!r}"
        for name in _TRAVELS
        if name in card
        and name in other
        and _compared(name, card) != _compared(name, other)
        and not (blind and name == "depth_codebook")
    ]


def _compared(name: str, card: Mapping[str, Any]) -> Any:
    value = _plain(card[name])
    return value == "none" if name in _SOURCES else value


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
