"""Runs of ``molmoact label``: what goes on, what is made again and what is refused."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from molmoact_ros.cli import main
from molmoact_ros.data import label_options
from molmoact_ros.data.dataset import DataSet
from molmoact_ros.data.rows import read_info

sys.path.insert(0, str(Path(__file__).parent))
from bag_writing_helpers import TOPICS, write_bag

SIZE = ("--set", "image_size=[64,48]")


def label(bags: Path, out: Path, *more: str) -> int:
    return main(["label", str(bags), "--out", str(out), *SIZE, *more])


def packs(out: Path) -> dict[str, int]:
    """When the pictures of each episode were written."""
    return {path.name: path.stat().st_mtime_ns for path in (out / "pictures").glob("*.pack")}


@pytest.mark.parametrize(
    ("topic", "words"),
    [(TOPICS.measured, "struct.error: unpack_from"), (f"{TOPICS.depth}/compressedDepth", "ends")],
)
def test_a_damaged_bag_is_named_and_the_others_are_labelled(
    tmp_path: Path, topic: str, words: str
) -> None:
    bags, out = tmp_path / "bags", tmp_path / "data"
    bags.mkdir()
    write_bag(bags, "a", broken=topic)
    write_bag(bags, "b")
    assert label(bags, out) == 0
    assert [rows.info["source"] for rows in DataSet(out, "").episodes] == [str(bags / "b")]
    ((bag, reason),) = json.loads((out / "quarantine.json").read_text()).items()
    assert bag == str(bags / "a") and words in reason


def test_another_version_of_this_software_labels_nothing_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bag, out = write_bag(tmp_path, "a"), tmp_path / "data"
    assert label(bag, out) == 0
    before = packs(out)
    monkeypatch.setattr(label_options, "software_commit", lambda: "0123456 changed")
    assert label(bag, out, "--set", "center_crop=0.9") == 0
    assert packs(out) == before
    card = DataSet(out, "").card
    assert "0123456 changed" in card.software and card.center_crop == 0.9


def test_episodes_of_another_card_are_labelled_again_where_their_bags_are(tmp_path: Path) -> None:
    out = tmp_path / "data"
    one, two = write_bag(tmp_path, "a"), write_bag(tmp_path, "b")
    assert label(one, out) == 0
    assert label(two, out, "--set", "fps=10") == 0
    episodes = DataSet(out, "").episodes
    assert len(episodes) == 2
    assert all(json.loads(rows.info["row_card"])["fps"] == 10.0 for rows in episodes)
    assert all(rows.timestamps[1] == pytest.approx(0.1) for rows in episodes)


def test_episodes_of_another_card_without_their_bags_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two rates in one data set would go under one card."""
    out = tmp_path / "data"
    one, two = write_bag(tmp_path, "a"), write_bag(tmp_path, "b")
    assert label(one, out) == 0
    shutil.rmtree(one)
    before = packs(out)
    assert label(two, out, "--set", "fps=10", "--set", "trace_source=none") == 2
    said = capsys.readouterr().err
    assert "fps was 15.0, is 10.0" in said and "trace_source was 'tf', is 'none'" in said
    assert "Give their bags again" in said and str(one) in said
    assert packs(out) == before and len(DataSet(out, "").episodes) == 1


def test_labels_of_another_card_do_not_outlive_a_bag_that_cannot_follow(tmp_path: Path) -> None:
    out = tmp_path / "data"
    one, two = write_bag(tmp_path, "a"), write_bag(tmp_path, "b")
    assert label(one, out) == 0
    (path,) = (out / "labels").glob("*.parquet")
    for file in one.glob("*.mcap"):
        file.write_bytes(file.read_bytes()[:200])
    assert label(two, out, "--set", "fps=10") == 0
    assert not path.exists() and not any(name.startswith(path.stem) for name in packs(out))
    assert [rows.info["source"] for rows in DataSet(out, "").episodes] == [str(two)]
    assert list(json.loads((out / "quarantine.json").read_text())) == [str(one)]


def test_an_episode_carries_the_card_it_was_labelled_with(tmp_path: Path) -> None:
    out = tmp_path / "data"
    assert label(write_bag(tmp_path, "a"), out) == 0
    (path,) = (out / "labels").glob("*.parquet")
    found = json.loads(read_info(path)["row_card"])
    assert found["image_size"] == [64, 48] and "software" not in found and "name" not in found
