"""A finished bag, message by message: ours, or any rosbag2 folder or file in MCAP."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcap.exceptions import McapError
from mcap.reader import SeekingReader

from molmoact_ros.bags.decode import decoder
from molmoact_ros.bags.mcap_contents import Contents, load
from molmoact_ros.bags.metadata import FILE, BadBag, Topic, read_document


@dataclass(frozen=True)
class BagMessage:
    """One serialized message; times in nanoseconds since 1970."""

    topic: str
    type: str
    log_ns: int
    publish_ns: int
    data: bytes


class BagReader:
    """Opens a folder with metadata.yaml or one .mcap file. Raises BadBag with the remedy."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.custom: dict[str, str] = {}
        self._files = [self.path]
        if self.path.is_dir():
            if not (self.path / FILE).is_file():
                raise BadBag(f"{self.path}: no {FILE}; run molmoact bag recover {self.path}")
            document = read_document(self.path)
            names = document.get("relative_file_paths") or []
            self._files = [self.path / Path(str(name)).name for name in names]
            found = document.get("custom_data") or {}
            self.custom = {str(k): str(v) for k, v in found.items()}
        elif not self.path.is_file():
            raise BadBag(f"{self.path}: no such bag; give a rosbag2 folder or an .mcap file")
        if not self._files or any(path.suffix != ".mcap" for path in self._files):
            raise BadBag(f"{self.path}: holds no .mcap file; convert it with ros2 bag convert")
        self._contents = [load(path) for path in self._files]
        self._decoders: dict[str, Callable[[bytes], Any]] = {}
        self.topics: dict[str, Topic] = {}
        self.counts: dict[str, int] = {}
        for contents in self._contents:
            self._learn(contents)
        used = [c for c in self._contents if c.messages]
        self.start_ns = min((c.start_ns for c in used), default=0)
        self.end_ns = max((c.end_ns for c in used), default=0)

    @property
    def seconds(self) -> float:
        return (self.end_ns - self.start_ns) * 1e-9

    @property
    def bytes(self) -> int:
        return sum(path.stat().st_size for path in self._files)

    def topics_of(self, type_: str) -> list[str]:
        """Names of the topics of one type, sorted."""
        return sorted(t.name for t in self.topics.values() if t.type == type_)

    def messages(
        self,
        topics: Collection[str] | None = None,
        start_ns: int | None = None,
        end_ns: int | None = None,
    ) -> Iterator[BagMessage]:
        """In order of log time. Raises BadBag when the file is damaged."""
        wanted = None if topics is None else sorted(topics)
        for path in self._files:
            with path.open("rb") as file:
                reader = SeekingReader(file)
                try:
                    for schema, channel, message in reader.iter_messages(wanted, start_ns, end_ns):
                        yield BagMessage(
                            channel.topic,
                            schema.name if schema is not None else "",
                            message.log_time,
                            message.publish_time,
                            message.data,
                        )
                except (McapError, ValueError) as error:
                    raise BadBag(f"{path}: damaged ({error}); run molmoact bag recover") from error

    def decode(self, message: BagMessage) -> Any:
        """The message as an object with its fields. Raises BadBag for a type nobody described."""
        if message.type not in self._decoders:
            raise BadBag(f"{message.topic}: its type {message.type} has no definition in the bag")
        return self._decoders[message.type](message.data)

    def _learn(self, contents: Contents) -> None:
        for channel in contents.channels.values():
            schema = contents.schemas.get(channel.schema_id)
            if schema is None:
                continue
            name = channel.topic
            self.topics[name] = Topic.from_channel(name, schema.name, channel.metadata)
            self.counts[name] = self.counts.get(name, 0) + contents.counts.get(channel.id, 0)
            if schema.encoding == "ros2msg" and schema.name not in self._decoders:
                self._decoders[schema.name] = decoder(schema)
