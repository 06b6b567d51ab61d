"""Batches from other processes, and ordinary pictures among the robot's."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from molmoact_ros.data.pictures import encode_jpeg
from molmoact_ros.data.rows import BadData
from molmoact_ros.train.batches import Batch
from molmoact_ros.train.stream import Source, Visits, batches
from molmoact_ros.train.web import WebData

sys.path.insert(0, str(Path(__file__).parent))
from train_helpers import small_recipe, source_of


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return source_of(tmp_path_factory.mktemp("ahead"), small_recipe(steps=3, jitter=True))


@pytest.fixture
def web(tmp_path: Path) -> Path:
    folder = tmp_path / "web"
    folder.mkdir()
    picture = encode_jpeg(np.full((40, 60, 3), 200, np.uint8), 90)
    lines = []
    for number in range(2):
        (folder / f"{number}.jpg").write_bytes(picture)
        record = {"image": f"{number}.jpg", "question": "What is it?", "answer": "12, 34"}
        lines.append(json.dumps(record))
    (folder / "records.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def same(a: Batch, b: Batch) -> bool:
    return a.kinds == b.kinds and torch.equal(a.ids, b.ids) and torch.equal(a.crops, b.crops)


@pytest.mark.slow
def test_workers_bring_the_same_batches_and_leave_signals_to_the_trainer(source: Source) -> None:
    """A scheduler's SIGTERM reaches every process of the group; a worker that dies of it takes the
    training with it before anything is saved.
    """
    wanted = [micro for step in batches(source, 0) for micro in step]
    ahead = replace(source, recipe=replace(source.recipe, workers=1))
    found: list[Batch] = []
    for number, step in enumerate(batches(ahead, 0)):
        if not number:
            (worker,) = multiprocessing.active_children()
            for signal_ in (signal.SIGTERM, signal.SIGINT):
                os.kill(worker.pid, signal_)  # type: ignore[arg-type]
        found += step
    assert len(found) == len(wanted) == 6
    assert all(same(a, b) for a, b in zip(found, wanted, strict=True))


def test_ordinary_pictures_come_in_their_share(source: Source, web: Path) -> None:
    recipe = replace(source.recipe, web=1.0, reason=0.5, steer=0.5)
    visits = Visits(replace(source, recipe=recipe, web=web))
    samples = [visits[position] for position in range(60)]
    chosen = [sample for sample in samples if sample.kind == "web"]
    assert 18 < len(chosen) < 42, "half of them"
    tokenizer = visits.reading[0]
    one = chosen[0]
    assert tokenizer.decode(one.ids[one.answer : -1].tolist()) == " 12, 34"
    assert "What is it?" in tokenizer.decode(one.ids[: one.answer].tolist())
    repeated = Visits(replace(source, recipe=recipe, web=web))[samples.index(one)]
    assert np.array_equal(repeated.ids, one.ids), "the same position, the same sample"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "needs image, question and answer"),
        ('{"image": "0.jpg", "question": "?"}', "records.jsonl:3: needs"),
        ('{"image": "../x.jpg", "question": "?", "answer": "!"}', "no picture"),
    ],
)
def test_a_wrong_record_is_named(web: Path, line: str, words: str) -> None:
    with (web / "records.jsonl").open("a") as records:
        records.write(line + "\n")
    with pytest.raises(BadData, match=words):
        WebData(web)
