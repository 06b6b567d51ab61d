"""What a checkpoint folder says about itself, before its weights are loaded. Needs no torch."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from molmoact_ros.model.codebook import RELEASED
from molmoact_ros.model.config import CheckpointError, load_config
from molmoact_ros.policy.base import PolicyError
from molmoact_ros.policy.startup_checks import (
    ACTION_NAMES,
    ACTION_UNITS,
    PERIOD_S,
    ModelDescription,
)
from molmoact_ros.policy.view import view_of
from molmoact_ros.reasoning.statistics import read_statistics, statistics_key

CAMERAS = ("external", "wrist")
ROWS = 8
"""Of a chunk of the released robot checkpoints."""
_SAMPLE_BYTES = 64 * 2**10


def describe_checkpoint(
    folder: Path | str,
    unnorm_key: str | None = None,
    images: int = 2,
    rows: int | None = None,
    origin: str = "not stated",
) -> ModelDescription:
    """The description of a folder. ``images``: pictures per prompt; ``rows``: of a chunk.

    Our own checkpoints name cameras, picture size, chunk, period and frame in the card of their
    statistics; for the released ones these are the values of the paper's robot. Raises PolicyError.
    """
    folder = Path(folder).resolve()
    try:
        norm_stats = load_config(folder).norm_stats
        key = statistics_key(norm_stats, unnorm_key)
        statistics = read_statistics({"norm_stats": norm_stats}, key)
        size = view_of(statistics.card).size
        chunk = rows_of(statistics.card) if rows is None else rows
    except (CheckpointError, ValueError) as error:
        raise PolicyError(f"the checkpoint cannot be described: {error}") from error
    name, revision = name_and_revision(folder)
    dims, card = statistics.dims, statistics.card
    arm = dims == len(ACTION_NAMES)
    return ModelDescription(
        name=name,
        revision=revision,
        origin=origin,
        unnorm_key=key,
        cameras=_cameras(card, images),
        image_size=size,
        rows=chunk,
        dims=dims,
        action_names=ACTION_NAMES if arm else tuple(f"action {i + 1}" for i in range(dims)),
        action_units=ACTION_UNITS if arm else ("",) * dims,
        period=_period(card),
        frame="tool" if card.get("delta_frame") == "tool" else "base",
        codebook=_codebook(card),
    )


def name_and_revision(folder: Path) -> tuple[str, str]:
    """Name and commit of a snapshot in the hub's cache; else folder name and a fingerprint.

    The fingerprint covers config.json and both ends of every weight file: enough to tell two
    trainings apart without reading gigabytes.
    """
    if folder.parent.name == "snapshots" and folder.parent.parent.name.startswith("models--"):
        return folder.parent.parent.name.removeprefix("models--").replace("--", "/"), folder.name
    digest = hashlib.sha256()
    for path in [folder / "config.json", *sorted(folder.glob("*.safetensors"))]:
        try:
            with path.open("rb") as file:
                size = file.seek(0, 2)
                digest.update(f"{path.name} {size} ".encode())
                for place in (0, max(0, size - _SAMPLE_BYTES)):
                    file.seek(place)
                    digest.update(file.read(_SAMPLE_BYTES))
        except OSError as error:
            raise PolicyError(f"{path}: cannot be read ({error}); check the folder") from error
    return folder.name, f"files {digest.hexdigest()[:12]}"


def rows_of(card: Mapping[str, Any]) -> int:
    """Actions in a chunk: the card's, 8 without one. Raises ValueError."""
    chunk = card.get("chunk", ROWS)
    if isinstance(chunk, bool) or not isinstance(chunk, int) or not 1 <= chunk <= 64:
        raise ValueError(f"the card's chunk is {chunk!r}; expected a number of rows from 1 to 64")
    return chunk


def _cameras(card: Mapping[str, Any], images: int) -> tuple[str, ...]:
    named = card.get("cameras")
    if isinstance(named, list) and len(named) == images and all(isinstance(n, str) for n in named):
        return tuple(named)
    return tuple(CAMERAS[i] if i < len(CAMERAS) else f"camera {i + 1}" for i in range(images))


def _codebook(card: Mapping[str, Any]) -> str:
    named = card.get("depth_codebook", "" if card else RELEASED)
    return named if isinstance(named, str) else ""


def _period(card: Mapping[str, Any]) -> float:
    fps = card.get("fps")
    if isinstance(fps, (int, float)) and not isinstance(fps, bool):
        if math.isfinite(fps) and fps > 0:
            return 1.0 / fps
        raise PolicyError(f"the statistics' card says fps {fps}; write a positive number")
    return PERIOD_S
