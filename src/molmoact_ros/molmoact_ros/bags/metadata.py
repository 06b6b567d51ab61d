"""metadata.yaml of a rosbag2 folder, format version 9 (rosbag2_storage of ROS 2 Jazzy)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

VERSION = 9
FILE = "metadata.yaml"
KEY = "rosbag2_bagfile_information"
_FOREVER = {"sec": 9223372036, "nsec": 854775807}
"""RMW_DURATION_INFINITE."""


class BadBag(ValueError):
    """A bag that cannot be used; says what was found and what to do."""


@dataclass(frozen=True)
class Topic:
    """One topic of a bag. ``reliable``, ``latched``, ``depth``: the QoS it was offered with."""

    name: str
    type: str
    hash: str
    reliable: bool = True
    latched: bool = False
    depth: int = 1

    @property
    def qos(self) -> list[dict[str, Any]]:
        """As rosbag2 writes it since version 9: enumerations by name."""
        return [
            {
                "history": "keep_last",
                "depth": self.depth,
                "reliability": "reliable" if self.reliable else "best_effort",
                "durability": "transient_local" if self.latched else "volatile",
                "deadline": dict(_FOREVER),
                "lifespan": dict(_FOREVER),
                "liveliness": "automatic",
                "liveliness_lease_duration": dict(_FOREVER),
                "avoid_ros_namespace_conventions": False,
            }
        ]

    @property
    def channel_metadata(self) -> dict[str, str]:
        """What rosbag2_storage_mcap puts into a channel; readers compare it with metadata.yaml."""
        return {"offered_qos_profiles": yaml.safe_dump(self.qos), "topic_type_hash": self.hash}

    @staticmethod
    def from_channel(name: str, type_: str, metadata: Mapping[str, str]) -> Topic:
        """Back from a channel; unknown QoS becomes reliable and volatile."""
        found: Any = None
        try:
            found = yaml.safe_load(metadata.get("offered_qos_profiles", "") or "[]")
        except yaml.YAMLError:
            found = None
        first = found[0] if isinstance(found, list) and found else {}
        return Topic(
            name,
            type_,
            metadata.get("topic_type_hash", ""),
            first.get("reliability") != "best_effort",
            first.get("durability") == "transient_local",
            int(first.get("depth", 1)),
        )


@dataclass(frozen=True)
class BagSummary:
    """All that metadata.yaml says. Times in nanoseconds since 1970; custom: text to text."""

    file: str
    topics: tuple[Topic, ...]
    counts: Mapping[str, int]
    start_ns: int
    end_ns: int
    custom: Mapping[str, str]

    @property
    def messages(self) -> int:
        return sum(self.counts.values())

    def document(self) -> dict[str, Any]:
        duration = {"nanoseconds": max(0, self.end_ns - self.start_ns)}
        start = {"nanoseconds_since_epoch": self.start_ns}
        return {
            KEY: {
                "version": VERSION,
                "storage_identifier": "mcap",
                "duration": duration,
                "starting_time": start,
                "message_count": self.messages,
                "topics_with_message_count": [
                    {
                        "topic_metadata": {
                            "name": topic.name,
                            "type": topic.type,
                            "serialization_format": "cdr",
                            "offered_qos_profiles": topic.qos,
                            "type_description_hash": topic.hash,
                        },
                        "message_count": int(self.counts.get(topic.name, 0)),
                    }
                    for topic in self.topics
                ],
                "compression_format": "",
                "compression_mode": "",
                "relative_file_paths": [self.file],
                "files": [
                    {
                        "path": self.file,
                        "starting_time": dict(start),
                        "duration": dict(duration),
                        "message_count": self.messages,
                    }
                ],
                "custom_data": dict(self.custom) or None,
                "ros_distro": "jazzy",
            }
        }


def write_metadata(folder: Path, summary: BagSummary) -> None:
    """Replace the folder's metadata.yaml in one step. Raises OSError."""
    replace_text(folder / FILE, yaml.safe_dump(summary.document(), sort_keys=False))


def replace_text(path: Path, text: str) -> None:
    """Write and fsync a new file, then rename it over ``path``: a crash leaves old or new."""
    new = path.with_name(path.name + ".new")
    with new.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """A renamed or new file is on the disk only when its folder is."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_document(folder: Path) -> dict[str, Any]:
    """What stands under ``rosbag2_bagfile_information``. Raises BadBag."""
    path = folder / FILE
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadBag(
            f"{path}: cannot be read ({error}); run molmoact bag recover {folder}"
        ) from error
    found = document.get(KEY) if isinstance(document, dict) else None
    if not isinstance(found, dict):
        raise BadBag(f"{path}: no {KEY}; run molmoact bag recover {folder}")
    return found


def set_custom(folder: Path, values: Mapping[str, str]) -> None:
    """Add to custom_data, keep all else. Raises BadBag, OSError."""
    found = read_document(folder)
    found["custom_data"] = {**(found.get("custom_data") or {}), **values}
    replace_text(folder / FILE, yaml.safe_dump({KEY: found}, sort_keys=False))
