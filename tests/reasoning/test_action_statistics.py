"""Statistics scale every motion: a wrong quantile or key moves the arm by the wrong amount."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from molmoact_ros.reasoning.actions import chunk_text, decode, encode
from molmoact_ros.reasoning.gripper import gripper_from_training, gripper_to_training
from molmoact_ros.reasoning.statistics import (
    ActionStatistics,
    compute_statistics,
    read_statistics,
    write_statistics,
)

ENTRY = {"action": {"q01": [-1, 0, 0], "q99": [1, 2, 1]}}


def test_golden_pipeline(golden: Path) -> None:
    """Raw actions -> statistics -> training values -> text, exactly as the released tools do it."""
    case = json.loads((golden / "parsers/action_pipeline.json").read_text())
    raw = np.array(case["raw_actions"])
    expected = read_statistics({"k": case["stats"]}, "k")
    computed = compute_statistics(raw, np.repeat(np.arange(4), 10))
    for name in ("q01", "q99", "mean", "std", "min", "max", "mask"):
        np.testing.assert_array_equal(getattr(computed, name), getattr(expected, name), name)
    assert (computed.num_transitions, computed.num_trajectories) == (40, 4)
    values = expected.normalise(raw)
    np.testing.assert_array_equal(values, np.array(case["normalized"], dtype=np.float32))
    bins = encode(values)
    assert [chunk_text(row) for row in bins] == case["tokenized"]
    chunks = [chunk_text(bins[np.minimum(np.arange(i, i + 8), 11)]) for i in range(12)]
    assert chunks == case["chunk_strings_for_12_step_episode"]


def test_written_action_comes_back_within_half_a_bin(statistics: ActionStatistics) -> None:
    """What the expert wants to do is what the arm is told, up to the width of a bin."""
    random = np.random.default_rng(0)
    raw = random.uniform(statistics.q01, statistics.q99, size=(200, 7))
    raw[:, 6] = random.integers(0, 2, 200)
    back = statistics.unnormalise(decode(encode(statistics.normalise(raw, "1open_0closed"))))
    half_bin = 0.004 * (statistics.q99 - statistics.q01) / 2
    assert (np.abs(back - raw)[:, :6] <= half_bin[:6]).all()
    np.testing.assert_array_equal(back[:, 6] >= 0.5, raw[:, 6] == 1)


def test_card_declares_the_gripper() -> None:
    """A card that records 1 = open must not have its gripper flipped by the usual default."""
    rows = np.array([[0.0, 1.0], [1.0, 0.0]])
    card = {"gripper_raw": "1open_0closed"}
    assert compute_statistics(rows, [0, 0], card).normalise(rows)[:, 1].tolist() == [1.0, 0.0]
    assert compute_statistics(rows, [0, 0]).normalise(rows)[:, 1].tolist() == [0.0, 1.0]


def test_last_dimension_is_never_scaled() -> None:
    """Released files exist whose mask claims the gripper is scaled; it never is."""
    statistics = read_statistics({"k": {"action": {**ENTRY["action"], "mask": [True] * 3}}})
    np.testing.assert_array_equal(statistics.unnormalise([0.0, 0.0, 0.25]), [0.0, 1.0, 0.25])


def test_dimension_that_never_moved_is_zero() -> None:
    """A constant dimension would otherwise divide by almost nothing and saturate."""
    statistics = read_statistics({"k": {"action": {"q01": [0.2, 0, 0], "q99": [0.2, 1, 1]}}})
    assert statistics.normalise([0.9, 0.5, 1.0])[0] == 0.0


def test_file_round_trip(tmp_path: Path, statistics: ActionStatistics) -> None:
    card = {"gripper_raw": "0open_1closed", "gripper_dims": [-1], "fps": 15}
    rows = np.random.default_rng(1).normal(size=(30, 7))
    written = compute_statistics(rows, np.zeros(30, int), card)
    path = tmp_path / "dataset_statistics.json"
    write_statistics(path, {"fr3": written, "bare": statistics})
    read = read_statistics(path, "fr3")
    for name in ("q01", "q99", "mean", "std", "min", "max", "mask"):
        np.testing.assert_array_equal(getattr(read, name), getattr(written, name))
    assert dict(read.card) == card
    assert (read.num_transitions, read.num_trajectories) == (30, 1)
    assert read_statistics(path, "bare").mean is None


def test_config_json_is_understood(tmp_path: Path) -> None:
    """A model folder's config.json carries the same table under norm_stats."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"model_type": "molmoact", "norm_stats": {"a": ENTRY}}))
    assert read_statistics(path).dims == 3


@pytest.mark.parametrize(
    ("table", "key", "message"),
    [
        ({}, None, "no action statistics"),
        ({"a": ENTRY, "b": ENTRY}, None, "choose one of: a, b"),
        ({"a": ENTRY}, "c", "under 'c'; choose one of: a"),
        ({"a": {}}, None, "damaged"),
        ({"a": {"action": {"q01": [0, 1]}}}, None, "damaged"),
        ({"a": {"action": {"q01": [0, 1], "q99": [1]}}}, None, "q99"),
        ({"a": {"action": {"q01": [0, 1], "q99": [1, float("nan")]}}}, None, "finite"),
        ({"a": {"action": {"q01": [2, 0], "q99": [1, 1]}}}, None, "below q01"),
        ({"a": {"action": {"q01": [0, 0], "q99": [1, 1], "mask": [True]}}}, None, "mask"),
        ({"a": {"action": {"q01": ["x", 0], "q99": [1, 1]}}}, None, "damaged"),
    ],
)
def test_unusable_statistics_say_what_to_do(table: dict, key: str | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_statistics(table, key)


@pytest.mark.parametrize("text", [None, "", "[1, 2", "\x00"])
def test_unreadable_file_is_named(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "statistics.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match="statistics"):
        read_statistics(path)


def test_actions_of_another_robot_are_refused(statistics: ActionStatistics) -> None:
    with pytest.raises(ValueError, match="same robot"):
        statistics.unnormalise(np.zeros((8, 6)))
    with pytest.raises(ValueError, match="NaN"):
        statistics.normalise([np.nan] * 7)
    with pytest.raises(ValueError, match="NaN"):
        compute_statistics([[np.nan, 1.0]], [0])
    with pytest.raises(ValueError, match="kept ticks"):
        compute_statistics(np.zeros((0, 7)), [])


@pytest.mark.parametrize(
    ("dims", "grippers", "unscaled"),
    [
        (7, [6], [6]), (8, [7], [7]), (8, [-2], [6]), (14, [6, 13], [6, 13]),
        (14, [6, -1], [6, 13]), (7, [], []), (8, [], []), (7, None, [6]), (14, None, [13]),
    ],
)  # fmt: skip
def test_any_number_of_dimensions(
    dims: int, grippers: list[int] | None, unscaled: list[int], tmp_path: Path
) -> None:
    """Grippers are what the card says, in memory and in the file; all else is scaled."""
    rows = np.random.default_rng(2).normal(size=(20, dims))
    card = {} if grippers is None else {"gripper_dims": grippers}
    written = compute_statistics(rows, np.zeros(20), card)
    write_statistics(tmp_path / "s.json", {"arm": written})
    for statistics in (written, read_statistics(tmp_path / "s.json")):
        assert np.flatnonzero(~statistics.scaled).tolist() == unscaled
        assert np.flatnonzero(~statistics.mask).tolist() == unscaled
        back = statistics.unnormalise(decode(encode(statistics.normalise(rows, "1open_0closed"))))
        half_bin = 0.004 * (statistics.q99 - statistics.q01) / 2
        inside = np.clip(rows, statistics.q01, statistics.q99)
        assert (np.abs(back - inside) <= half_bin)[:, statistics.scaled].all()


def test_the_default_gripper_of_seven_dimensions_is_no_guess_for_eight() -> None:
    with pytest.raises(ValueError, match=r"\[6\], for 7 dim.*set it to \[7\].*\[-2\]"):
        compute_statistics(np.zeros((2, 8)), [0, 0], {"gripper_dims": [6]})
    with pytest.raises(ValueError, match=r"gripper_dims is \[8\].*actions have 7"):
        compute_statistics(np.zeros((2, 7)), [0, 0], {"gripper_dims": [8]})


def test_a_mask_that_scales_the_gripper_does_not_overrule_the_card() -> None:
    """A released file's bins get the card of the data that borrows them."""
    entry = {"action": {**ENTRY["action"], "mask": [True] * 3}}
    borrowed = read_statistics({"k": {**entry, "molmo_ros": {"gripper_dims": [1]}}})
    assert borrowed.scaled.tolist() == [True, False, True]


def test_recorded_states_are_described_and_missing_ones_are_zeros(tmp_path: Path) -> None:
    rows, path = np.zeros((4, 2)), tmp_path / "s.json"
    states = [np.array([[1.0, 2.0, 8.0], [3.0, 2.0, np.nan]]), np.zeros((1, 0)), [[5.0, 2.0, 6.0]]]
    told = compute_statistics(rows, np.zeros(4), states=states)
    write_statistics(path, {"a": told, "b": compute_statistics(rows, np.zeros(4))})
    table = json.loads(path.read_text())
    assert table["a"]["proprio"]["mean"] == [3.0, 2.0, 7.0]
    assert (table["a"]["proprio"]["min"], table["a"]["proprio"]["max"]) == ([1, 2, 6], [5, 2, 8])
    assert table["b"]["proprio"]["q99"] == [0.0, 0.0]
    again = read_statistics(path, "a").proprio
    assert again is not None and again["std"].tolist() == [2.0, 0.0, 1.0]
    assert read_statistics(path, "b").proprio is None
    with pytest.raises(ValueError, match="of their own"):
        compute_statistics(rows, np.zeros(4), states=[np.ones((1, 7)), np.ones((1, 8))])


@pytest.mark.parametrize(
    ("convention", "opened", "closed"),
    [("0open_1closed", 0, 1), ("1open_0closed", 1, 0), ("-1open_1closed", -1, 1),
     ("metres_max=0.08", 0.08, 0.0)],
)  # fmt: skip
def test_gripper_conventions(convention: str, opened: float, closed: float) -> None:
    """Open must never turn into closed: the hand would drop or crush what it holds."""
    assert gripper_to_training([opened, closed], convention).tolist() == [1.0, 0.0]
    back = gripper_from_training([0.996, 0.5, 0.49, 0.0], convention)
    np.testing.assert_allclose(back, np.float32([opened, opened, closed, closed]))


@pytest.mark.parametrize("convention", ["open", "metres_max=", "metres_max=-1", "metres_max=inf"])
def test_unknown_gripper_convention(convention: str) -> None:
    with pytest.raises(ValueError, match="gripper_raw"):
        gripper_to_training([0.0], convention)
    with pytest.raises(ValueError, match="gripper_raw"):
        gripper_from_training([0.0], convention)
