"""A slot for ordinary pictures with questions and answers beside the robot's data.

A folder with ``records.jsonl``: one object a line with image (path below the folder), question
and answer. It keeps a large model's general knowledge alive; the paper used 5 % of such samples.
"""

from __future__ import annotations

import json
from pathlib import Path

from molmoact_ros.data.pictures import decode_jpeg
from molmoact_ros.data.rows import BadData
from molmoact_ros.train.samples import Asked

RECORDS = "records.jsonl"


class WebData:
    """Raises BadData naming the line that is wrong."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        path = folder / RECORDS
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise BadData(f"{path}: {error}; write one JSON object a line there") from error
        self._records = [self._record(path, n, line) for n, line in enumerate(lines, 1) if line]
        if not self._records:
            raise BadData(f"{path}: is empty; leave --web away")

    def __len__(self) -> int:
        return len(self._records)

    def asked(self, number: int) -> Asked:
        image, question, answer = self._records[number]
        picture = decode_jpeg(image.read_bytes())
        return Asked("web", (picture,), question, f" {answer}")

    def _record(self, path: Path, number: int, line: str) -> tuple[Path, str, str]:
        try:
            found = json.loads(line)
            image = (self._folder / found["image"]).resolve()
            question, answer = str(found["question"]), str(found["answer"])
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise BadData(f"{path}:{number}: needs image, question and answer ({error})") from error
        if not image.is_relative_to(self._folder) or not image.is_file():
            raise BadData(f"{path}:{number}: no picture {found['image']!r} below {self._folder}")
        return image, question, answer
