"""From a recording to rows on disk and back, and what a whole data set adds."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from molmoact_ros.data.card import BadCard, DataCard, card_from_dict, differences, load_card
from molmoact_ros.data.dataset import STATISTICS, DataSet, finish, split_of
from molmoact_ros.data.depth_labels import DepthLabeller, agreement
from molmoact_ros.data.label import label_episode, startable
from molmoact_ros.data.recording import BadEpisode
from molmoact_ros.data.rows import BadData, read_rows
from molmoact_ros.model.depth_codec import DepthCodec
from molmoact_ros.reasoning.statistics import read_statistics

sys.path.insert(0, str(Path(__file__).parent))
from data_helpers import CARD, make_data, recording


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("data"))


def test_a_row_comes_back_as_it_was_written(folder: Path) -> None:
    data = DataSet(folder, "")
    rows = data.episodes[0]
    again = read_rows(folder / "labels" / f"{rows.info['key']}.parquet")
    assert np.array_equal(again.actions, rows.actions)
    assert np.array_equal(again.depth, rows.depth)
    assert again.info["instruction"] in ("pick up the red cube", "put the green cube into the bowl")
    assert all(np.array_equal(a, b) for a, b in zip(again.traces, rows.traces, strict=True))


def test_depth_codes_are_those_the_robot_would_compute(folder: Path) -> None:
    """Labels and the running robot must share one depth pipeline."""
    made = recording(24, 0)
    depth = np.frombuffer(made.depth.values[0].data, "<u2").reshape(48, 64) / 1000.0
    wanted = DepthCodec.from_package().encode(depth.astype(np.float32))
    rows = next(r for r in DataSet(folder, "").episodes if r.info["episode_id"] == "take 0")
    assert np.array_equal(rows.depth[0], wanted.reshape(-1))


def test_a_tick_holds_pictures_in_the_cards_order_and_size(folder: Path) -> None:
    tick = DataSet(folder, "").tick(0)
    assert [p.shape for p in tick.pictures] == [(48, 64, 3), (48, 64, 3)]
    assert tick.bins.shape == (8, 7)
    assert tick.actions.shape == (8, 7)


def test_pictures_are_never_squeezed(tmp_path: Path) -> None:
    """The robot refuses a camera of another aspect; so must what teaches its network."""
    wide = replace(CARD, image_size=(96, 48))
    with pytest.raises(BadEpisode, match=r"are 64x48.*--set image_size=\[96,72\]"):
        label_episode(recording(20), tmp_path, wide, DepthLabeller(), "a")


def test_rows_of_another_card_do_not_enter_a_data_set(tmp_path: Path) -> None:
    """Half of it would be at another rate, under one card that says nothing of it."""
    label_episode(recording(20), tmp_path, CARD, DepthLabeller(), "a")
    with pytest.raises(BadData, match=r"fps was 15.0, is 10.0"):
        finish(tmp_path, replace(CARD, fps=10.0))


def test_rows_behind_the_end_rest_and_keep_the_gripper(folder: Path) -> None:
    """Repeating the last delta means: keep moving."""
    data = DataSet(folder, "")
    last = len(data.episodes[0]) - 1
    tick = data.at(0, last)
    assert np.all(tick.actions[1:, :6] == 0.0)
    assert np.all(tick.actions[:, 6] == data.episodes[0].actions[-1, 6])
    decoded = data.statistics.unnormalise(
        np.stack([(tick.bins[1].astype(float) * 2 + 1) / 255 - 1])
    )[0]
    span = data.statistics.q99 - data.statistics.q01
    assert np.all(np.abs(decoded[:3]) <= span[:3] / 255)


def test_padding_can_repeat_as_the_released_weights_saw_it(tmp_path: Path) -> None:
    folder = make_data(tmp_path, 2, 16, replace(CARD, end_padding="repeat"))
    data = DataSet(folder, "")
    tick = data.at(0, len(data.episodes[0]) - 1)
    assert np.array_equal(tick.actions, np.repeat(tick.actions[:1], 8, axis=0))


def test_statistics_count_episodes_and_hold_the_card(folder: Path) -> None:
    """The public pipeline loses the episode count and writes no conventions."""
    statistics = read_statistics(folder / STATISTICS, "test_arm")
    train = DataSet(folder, "train")
    assert statistics.num_trajectories == len(train.episodes)
    assert statistics.num_transitions == sum(len(r) for r in train.episodes)
    assert statistics.card["gripper_raw"] == "1open_0closed"
    assert statistics.mask.tolist() == [True] * 6 + [False]


def test_statistics_leave_held_out_episodes_out(folder: Path) -> None:
    train, held = DataSet(folder, "train"), DataSet(folder, "held_out")
    assert len(held.episodes) >= 1
    names = {r.info["episode_id"] for r in train.episodes}
    assert not names & {r.info["episode_id"] for r in held.episodes}


def test_disturbed_rows_never_start_or_enter_a_chunk() -> None:
    clean = np.ones(20, dtype=bool)
    clean[10] = False
    use = startable(clean, 8)
    assert not use[3:11].any()
    assert use[:3].all() and use[11:].all()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"success": False}, "not successful"),
        ({"success": None}, "by nobody"),
        ({"instruction": "pick {it} up"}, "braces"),
        ({"camera": None}, "not calibrated"),
        ({"depth": None}, "no depth"),
        ({"commanded": None}, "no commanded poses"),
    ],
)
def test_an_episode_that_cannot_be_used_says_why(
    tmp_path: Path, change: dict[str, object], reason: str
) -> None:
    """The public pipeline prints the error and writes an empty label."""
    with pytest.raises(BadEpisode, match=reason):
        label_episode(replace(recording(20), **change), tmp_path, CARD, DepthLabeller(), "x")  # type: ignore[arg-type]
    assert not list(tmp_path.rglob("*.parquet"))


def test_the_split_does_not_depend_on_order_and_holds_out_two_of_a_large_task() -> None:
    names = {f"e{i}": "a" if i < 12 else "b" for i in range(15)}
    split = split_of(names)
    assert split == split_of(dict(reversed(list(names.items()))))
    assert sum(split[f"e{i}"] == "held_out" for i in range(12)) == 2


def test_finishing_twice_changes_nothing(folder: Path) -> None:
    before = {p: p.read_bytes() for p in folder.glob("*.json")}
    finish(folder, load_card(folder))
    assert {p: p.read_bytes() for p in folder.glob("*.json")} == before


def test_a_pack_that_was_cut_is_refused(tmp_path: Path) -> None:
    folder = make_data(tmp_path, 2, 12)
    for pack in folder.rglob("*.pack"):
        pack.write_bytes(pack.read_bytes()[:100])
    with pytest.raises(BadData, match="copy the data set again"):
        DataSet(folder, "").at(0, 5)


def test_an_unfinished_data_set_is_refused(tmp_path: Path) -> None:
    label_episode(recording(20), tmp_path, CARD, DepthLabeller(), "x")
    with pytest.raises(BadData, match="no episode"):
        finish(tmp_path / "other", CARD, {"bag": "broken"})
    CARD.save(tmp_path)
    with pytest.raises(ValueError):
        DataSet(tmp_path)


def test_a_card_survives_its_file_and_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    CARD.save(tmp_path)
    assert load_card(tmp_path) == CARD
    with pytest.raises(BadCard, match="unknown field"):
        card_from_dict({"fpz": 15})
    with pytest.raises(BadCard, match="delta_frame"):
        DataCard(delta_frame="world")
    with pytest.raises(ValueError, match="gripper"):
        DataCard(gripper_raw="closed=1")


def test_differences_name_what_a_robot_does_otherwise() -> None:
    other = {**CARD.travelling, "fps": 10.0, "cameras": ["wrist", "external"]}
    words = differences(CARD.travelling, other)
    assert len(words) == 2 and "fps is 10.0" in " ".join(words)
    assert differences(CARD.travelling, CARD.travelling) == []


def test_sources_of_depth_are_compared_by_code_and_by_vector() -> None:
    a = np.array([[0, 1, 2, 3]], np.uint8)
    vectors = np.eye(4, dtype=np.float32)
    assert agreement(a, a, vectors).accepted
    half = agreement(a, np.array([[0, 1, 3, 2]], np.uint8), vectors)
    assert half.equal_codes == 0.5 and half.cosine == 0.5 and not half.accepted


def test_the_quarantine_list_is_a_file(tmp_path: Path) -> None:
    label_episode(recording(20), tmp_path, CARD, DepthLabeller(), "x")
    label_episode(replace(recording(20, 1), episode_id="y"), tmp_path, CARD, DepthLabeller(), "y")
    finish(tmp_path, CARD, {"/bags/7": "camera torn"})
    assert json.loads((tmp_path / "quarantine.json").read_text()) == {"/bags/7": "camera torn"}
