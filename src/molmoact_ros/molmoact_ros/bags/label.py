"""How an episode went, written into the finished bag: metadata.yaml and the MCAP file itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from molmoact_ros.bags.mcap_contents import load
from molmoact_ros.bags.mcap_tail import write_tail
from molmoact_ros.bags.metadata import BadBag, read_document, set_custom
from molmoact_ros.bags.recovery import ENTRY

OUTCOMES = ("success", "failure", "discard")
"""By LabelEpisode's numbers."""


def label(folder: Path, outcome: str, note: str = "") -> dict[str, str]:
    """Set the outcome (and add a note); "" keeps the outcome. Returns all custom values.

    A crash in the middle is found at the next start-up: the state says ``labelling`` until the
    end. Raises BadBag for an unknown outcome or an unreadable bag, OSError.
    """
    if outcome and outcome not in OUTCOMES:
        raise BadBag(f"outcome '{outcome}': use one of {', '.join(OUTCOMES)}")
    custom = dict(read_document(folder).get("custom_data") or {})
    if outcome:
        custom["outcome"] = outcome
    if note:
        custom["note"] = "; ".join(part for part in (custom.get("note", ""), note) if part)
    set_values(folder, custom)
    return custom


def set_values(folder: Path, custom: Mapping[str, str]) -> None:
    """Write ``custom`` into both places. Raises BadBag, OSError."""
    document = read_document(folder)
    files = document.get("relative_file_paths") or []
    if len(files) != 1:
        raise BadBag(f"{folder}: holds {len(files)} files, expected 1; it was not recorded here")
    path = folder / Path(str(files[0])).name
    set_custom(folder, {**custom, "state": "labelling"})
    contents = load(path)
    write_tail(path, contents, {ENTRY: {**custom, "state": "complete"}})
    set_custom(folder, {**custom, "state": "complete"})
