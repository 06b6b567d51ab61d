"""Episodes that were never finished become readable bags again, and are marked.

In place: the file is cut behind its last whole record and closed properly; no copy, no extra
disk space. The folder keeps its episode name and says ``recovered: true`` in its metadata.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from molmoact_ros.bags.mcap_contents import Contents, scan
from molmoact_ros.bags.mcap_tail import write_tail
from molmoact_ros.bags.metadata import (
    FILE,
    BadBag,
    BagSummary,
    Topic,
    read_document,
    sync_folder,
    write_metadata,
)
from molmoact_ros.bags.writer import PARTIAL

ENTRY = "episode"
"""Name of the MCAP metadata record that holds where an episode comes from and how it ended."""


@dataclass(frozen=True)
class Recovered:
    """What was saved. seconds: of messages; lost_bytes: behind the last whole record."""

    folder: Path
    messages: int
    seconds: float
    lost_bytes: int
    bad_chunks: int

    @property
    def sentence(self) -> str:
        lost = f"{self.lost_bytes} bytes of an unfinished chunk were cut off"
        bad = f"; {self.bad_chunks} damaged chunks were left out" if self.bad_chunks else ""
        return f"{self.folder.name}: {self.messages} messages, {self.seconds:.1f} s; {lost}{bad}"


def find_unfinished(root: Path) -> list[Path]:
    """Folders below ``root`` whose recording or labelling was cut off, oldest first."""
    if not root.is_dir():
        return []
    found = {path for path in root.rglob(f"*{PARTIAL}") if path.is_dir()}
    for path in root.rglob(FILE):
        if path.parent.name.endswith(PARTIAL):
            continue
        try:
            custom = read_document(path.parent).get("custom_data") or {}
        except BadBag:
            continue  # somebody else's broken bag is not ours to change
        if custom.get("state") in ("recording", "labelling"):
            found.add(path.parent)
    return sorted(found, key=lambda path: path.stat().st_mtime)


def recover(folder: Path) -> Recovered:
    """Finish one bag in place. Raises BadBag when nothing can be read, OSError."""
    files = sorted(folder.glob("*.mcap"))
    if len(files) != 1:
        raise BadBag(f"{folder}: holds {len(files)} .mcap files, expected 1; give one episode")
    path = files[0]
    contents = scan(path, mend=True)
    known = _known_topics(folder)
    interrupted = not _finished(contents)
    state = {"state": "complete"}
    if interrupted:
        state |= {"recovered": "true", "lost_bytes": str(contents.lost_bytes)}
    custom = {**contents.values.get(ENTRY, {}), **state}
    write_tail(path, contents, {ENTRY: custom})
    write_metadata(folder, _summary(path.name, contents, known, custom))
    final = folder
    if folder.name.endswith(PARTIAL):
        final = folder.with_name(folder.name.removesuffix(PARTIAL))
        if final.exists():
            raise BadBag(f"{final} exists already; rename one of the two, then recover again")
        folder.rename(final)
        sync_folder(final.parent)
    return Recovered(
        final,
        contents.messages,
        (contents.end_ns - contents.start_ns) * 1e-9,
        contents.lost_bytes if interrupted else 0,
        contents.bad_chunks,
    )


def recover_all(root: Path) -> tuple[list[Recovered], list[str]]:
    """Everything unfinished below ``root``: what was saved, and why the rest could not be."""
    saved, problems = [], []
    for folder in find_unfinished(root):
        try:
            saved.append(recover(folder))
        except (BadBag, OSError) as error:
            problems.append(str(error))
    return saved, problems


def _finished(contents: Contents) -> bool:
    """Whether the recorder had written its last word before the file was torn (labelling)."""
    return contents.values.get(ENTRY, {}).get("ended", "") != ""


def _known_topics(folder: Path) -> tuple[Topic, ...]:
    """Topics of the metadata.yaml that was written at the start; they may have no messages."""
    try:
        entries = read_document(folder).get("topics_with_message_count") or []
    except BadBag:
        return ()
    topics = []
    for entry in entries:
        said = entry["topic_metadata"]
        qos = said.get("offered_qos_profiles") or [{}]
        topics.append(
            Topic(
                said["name"],
                said["type"],
                said.get("type_description_hash", ""),
                qos[0].get("reliability") != "best_effort",
                qos[0].get("durability") == "transient_local",
                int(qos[0].get("depth", 1)),
            )
        )
    return tuple(topics)


def _summary(
    file: str, contents: Contents, known: tuple[Topic, ...], custom: dict[str, str]
) -> BagSummary:
    topics = {topic.name: topic for topic in known}
    counts = {}
    for channel in contents.channels.values():
        schema = contents.schemas[channel.schema_id]
        topics[channel.topic] = Topic.from_channel(channel.topic, schema.name, channel.metadata)
        counts[channel.topic] = contents.counts.get(channel.id, 0)
    return BagSummary(
        file, tuple(topics.values()), counts, contents.start_ns, contents.end_ns, custom
    )
