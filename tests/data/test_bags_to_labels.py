"""A bag written by somebody else's writer, through our reader and the command, to a data set."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from molmoact_ros.cli import main
from molmoact_ros.data.bag_source import read_bag
from molmoact_ros.data.bag_writing import DemonstrationBag
from molmoact_ros.data.dataset import DataSet
from molmoact_ros.data.gate import WARN, check_statistics
from molmoact_ros.data.recording import BadEpisode

sys.path.insert(0, str(Path(__file__).parent))
from bag_writing_helpers import TOPICS, write_bag
from data_helpers import camera, path, stamps


def test_everything_in_a_bag_is_read_back(tmp_path: Path) -> None:
    found = read_bag(write_bag(tmp_path, "one"), TOPICS)
    assert found.instruction == "pick up the red cube" and found.success is True
    assert len(found.pictures["external"]) == len(found.pictures["wrist"]) == 24
    assert found.measured is not None
    assert np.allclose(found.measured.values[5].position, path(24)[5].position)
    assert found.camera is not None
    assert np.allclose(found.camera.base_from_optical, camera().base_from_optical, atol=1e-6)
    assert found.width is not None and found.width.values[0][0] == pytest.approx(0.08)
    assert found.clean is not None and found.clean.values[20][0] == 0.0


def test_a_missing_topic_is_named_with_what_there_is(tmp_path: Path) -> None:
    bag = write_bag(tmp_path, "one", skip=dict(TOPICS.images)["wrist"])
    with pytest.raises(BadEpisode, match=r"'wrist'.*/current_pose"):
        read_bag(bag, TOPICS)


def test_the_command_labels_resumes_and_quarantines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bags, out = tmp_path / "bags", tmp_path / "data"
    bags.mkdir()
    write_bag(bags, "good")
    write_bag(bags, "better")
    write_bag(bags, "bad", outcome="failure")
    command = ["label", str(bags), "--out", str(out), "--set", "image_size=[64,48]"]
    assert main(command) == 0
    assert len(DataSet(out, "").episodes) == 2
    problems = json.loads((out / "quarantine.json").read_text())
    assert list(problems) == [str(bags / "bad")] and "not successful" in problems[str(bags / "bad")]
    pack = next((out / "pictures").glob("*.pack"))
    before = pack.stat().st_mtime_ns
    assert main(command) == 0
    assert pack.stat().st_mtime_ns == before, "labelled again instead of resumed"
    assert "1 bags could not be used" in capsys.readouterr().err


def test_folders_that_count_from_one_are_no_copies(tmp_path: Path) -> None:
    """Every folder of a recorder has an episode_000001; a copied bag is another matter."""
    for day in ("22", "23"):
        folder = tmp_path / day
        folder.mkdir()
        write_bag(folder, "episode_000001", started=f"2026-11-{day}T08:00:00+00:00")
    shutil.copytree(tmp_path / "23", tmp_path / "copy")
    out = tmp_path / "data"
    command = ["label", *(str(tmp_path / name) for name in ("22", "23", "copy"))]
    assert main([*command, "--out", str(out), "--set", "image_size=[64,48]"]) == 0
    assert len(DataSet(out, "").episodes) == 2
    (problem,) = json.loads((out / "quarantine.json").read_text()).items()
    assert "copy" in problem[0] and "same episode" in problem[1]


def test_bins_of_another_data_set_are_kept(tmp_path: Path) -> None:
    """What a checkpoint goes on learning must mean what its symbols meant before."""
    write_bag(tmp_path, "one")
    file = tmp_path / "dataset_statistics.json"
    size = ["--set", "image_size=[64,48]"]
    assert main(["label", str(tmp_path / "one"), "--out", str(tmp_path / "a"), *size]) == 0
    first = json.loads((tmp_path / "a" / file.name).read_text())
    (name,) = first
    first[name]["action"]["q99"][0] = 0.5
    file.write_text(json.dumps(first))
    arguments = ["label", str(tmp_path / "one"), "--out", str(tmp_path / "b"), *size]
    assert main([*arguments, "--statistics", str(file)]) == 0
    data = DataSet(tmp_path / "b", "")
    assert data.statistics.q99[0] == 0.5
    found = check_statistics(data)
    assert found.level == WARN and "given" in found.words
    file.write_text("{}")
    assert main([*arguments, "--statistics", str(file)]) == 2


def test_a_bag_of_another_storage_is_told_how_to_convert(tmp_path: Path) -> None:
    bag = write_bag(tmp_path, "one")
    for file in bag.glob("*.mcap"):
        file.rename(file.with_suffix(".db3"))
    with pytest.raises(BadEpisode, match=r"ros2 bag convert -i .*one"):
        read_bag(bag, TOPICS)


def test_a_topic_whose_headers_are_not_set_follows_the_time_of_receipt(tmp_path: Path) -> None:
    folder = tmp_path / "one"
    with DemonstrationBag(folder, {"task": "wait", "outcome": "success"}, TOPICS) as bag:
        for stamp in stamps(3).tolist():
            for _, topic in TOPICS.images:
                bag.colour(topic, stamp, np.zeros((48, 64, 3), np.uint8))
            bag.pose(TOPICS.measured, stamp, path(1)[0])
            bag.number(TOPICS.gripper, stamp, 1.0)
            with pytest.MonkeyPatch.context() as unset:
                header = bag._header(0, "")
                unset.setattr(bag, "_header", lambda *_, header=header: header)
                bag.pose(TOPICS.commanded, stamp, path(1)[0])
    found = read_bag(folder, TOPICS)
    assert found.commanded is not None and found.measured is not None
    assert found.commanded.stamps.tolist() == found.measured.stamps.tolist()
    assert found.timeline[TOPICS.commanded] == "received"
    assert found.timeline[TOPICS.measured] == "header"


def test_an_unknown_topic_name_is_answered_with_the_known_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "topics.json"
    file.write_text('{"pose": "/pose"}')
    command = ["label", str(tmp_path), "--out", str(tmp_path / "d"), "--topics", str(file)]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert "unknown name 'pose'" in said and "measured" in said and "joints" in said


def test_the_command_refuses_an_unknown_card_field(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["label", str(tmp_path), "--out", str(tmp_path / "d"), "--set", "speed=3"]) == 2
    assert "unknown field 'speed'" in capsys.readouterr().err
