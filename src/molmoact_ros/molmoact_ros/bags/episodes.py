"""The folder of recorded episodes: names, and what is in it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from molmoact_ros.bags.metadata import FILE, BadBag, read_document

NAME = re.compile(r"episode_(\d{6,})(?:\.partial)?$")


@dataclass(frozen=True)
class Episode:
    """A finished bag as its metadata tells it."""

    folder: Path
    custom: dict[str, str]
    messages: int
    seconds: float

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def task(self) -> str:
        return self.custom.get("task", "")

    @property
    def outcome(self) -> str:
        return self.custom.get("outcome", "")


def next_name(root: Path) -> str:
    """``episode_000001`` and so on, never used before in ``root``."""
    numbers = [0]
    if root.is_dir():
        found = (NAME.search(path.name) for path in root.iterdir())
        numbers += [int(match.group(1)) for match in found if match]
    return f"episode_{max(numbers) + 1:06d}"


def existing(path: Path) -> Path:
    """``path`` or its nearest folder that exists: the disk a new folder would lie on."""
    while not path.exists():
        path = path.parent
    return path


def list_episodes(root: Path) -> list[Episode]:
    """All readable bags directly below ``root``, by name."""
    if not root.is_dir():
        return []
    episodes = []
    for folder in sorted(path.parent for path in root.glob(f"*/{FILE}")):
        try:
            episodes.append(read_episode(folder))
        except BadBag:
            continue
    return episodes


def read_episode(folder: Path) -> Episode:
    """Raises BadBag."""
    found = read_document(folder)
    custom = found.get("custom_data") or {}
    if not isinstance(custom, dict):
        raise BadBag(f"{folder}: custom_data is no list of values; run molmoact bag recover")
    try:
        messages = int(found["message_count"])
        seconds = int(found["duration"]["nanoseconds"]) * 1e-9
    except (KeyError, TypeError, ValueError) as error:
        raise BadBag(f"{folder}: metadata.yaml lacks {error}; run molmoact bag recover") from error
    return Episode(folder, {str(k): str(v) for k, v in custom.items()}, messages, seconds)
