"""Recordings on the control clock: which motion belongs to which picture, and what is dropped."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from molmoact_ros.data.card import DataCard
from molmoact_ros.data.depth_labels import DepthLabeller
from molmoact_ros.data.idle import kept_ticks
from molmoact_ros.data.label import label_episode
from molmoact_ros.data.recording import BadEpisode
from molmoact_ros.data.resampling import Stream
from molmoact_ros.data.ticks import make_ticks
from molmoact_ros.geometry import Pose

sys.path.insert(0, str(Path(__file__).parent))
from data_helpers import CARD, FPS, path, recording, stamps


def test_actions_added_up_are_the_commanded_motion() -> None:
    """The chain of deltas must end where the command ended: no frame or order error."""
    ticks = make_ticks(recording(40), CARD)
    pose = path(40)[0]
    start = ticks.actions[0]
    for action in ticks.actions:
        pose = pose.moved(action[:6].astype(float))
    assert len(ticks) == 38
    assert np.linalg.norm(pose.position - path(40)[38].position) < 1e-3
    assert pose.angle_to(path(40)[38]) < 1e-2
    assert start[6] == 1.0


def test_a_command_topic_wins_over_the_measured_motion() -> None:
    made = recording(30)
    still = [made.measured.values[0]] * 30
    actions = make_ticks(replace(made, measured=Stream(made.measured.stamps, still)), CARD).actions
    assert np.abs(actions[:, :3]).max() > 1e-3
    card = replace(CARD, action_source="measured")
    still_actions = make_ticks(
        replace(made, measured=Stream(made.measured.stamps, still)), card
    ).actions
    assert np.abs(still_actions[:, :3]).max() < 1e-9


def test_the_gripper_value_is_the_command_of_the_same_row() -> None:
    """One row early and the fingers close above the cube."""
    actions = make_ticks(recording(40), CARD).actions[:, 6]
    assert actions[19] == 1.0
    assert actions[20] == 0.0


def test_a_torn_camera_stream_drops_the_episode() -> None:
    made = recording(40)
    frames = made.pictures["external"]
    kept = [i for i in range(40) if not 10 <= i < 18]
    torn = Stream(frames.stamps[kept], [frames.values[i] for i in kept])
    with pytest.raises(BadEpisode, match="missed"):
        make_ticks(replace(made, pictures={"external": torn, "wrist": frames}), CARD)


@pytest.mark.parametrize("name", ["external", "wrist"])
def test_a_tick_with_an_old_picture_starts_no_sample(tmp_path: Path, name: str) -> None:
    """Spec 3.2; the episode and the chunks that pass over the gap survive."""
    made = recording(40)
    frames = made.pictures[name]
    kept = [i for i in range(40) if not 10 <= i < 13]
    torn = Stream(frames.stamps[kept], [frames.values[i] for i in kept])
    made = replace(made, pictures={**made.pictures, name: torn})
    rows = label_episode(made, tmp_path, CARD, DepthLabeller(), "x")
    whole = label_episode(recording(40, 1), tmp_path, CARD, DepthLabeller(), "y")
    assert len(rows) == len(whole) and whole.use.all()
    # One missed frame is 1.1 periods old, the next two are older than 1.5.
    assert np.flatnonzero(~rows.use).tolist() == [11, 12]


def test_waiting_is_left_out_of_what_is_labelled(tmp_path: Path) -> None:
    made = recording(40)
    waiting = [made.measured.values[0]] * 15 + list(made.measured.values[:25])
    still = Stream(made.measured.stamps, waiting)
    card = replace(CARD, keep_after_grip=0.0, keep_at_end=0.0)
    made = replace(made, measured=still, commanded=still)
    rows = label_episode(made, tmp_path, card, DepthLabeller(), "x")
    assert rows.info["dropped"] == "14"
    assert np.linalg.norm(rows.actions[:, :3], axis=1).min() >= card.idle_metres
    first = np.asarray(rows.offsets["external"])
    assert len(first) == len(rows) == len(rows.traces) == len(rows.depth) == 24


def test_a_camera_of_the_card_that_was_not_recorded_is_an_error() -> None:
    """The public loader skips unknown keys without a word and trains on one picture."""
    made = recording(20)
    with pytest.raises(BadEpisode, match="no pictures of camera 'wrist'"):
        make_ticks(replace(made, pictures={"external": made.pictures["external"]}), CARD)


def test_the_tool_is_projected_into_the_first_picture() -> None:
    ticks = make_ticks(recording(20), CARD)
    first = path(20)[0].position
    wanted = (60.0 * (first[0] - 0.5) / (1.0 - first[2]) + 31.5) / 64
    assert ticks.uv[0, 0] == pytest.approx(wanted, abs=2e-3)


def test_a_tool_outside_the_picture_is_missing_not_clipped() -> None:
    made = recording(20)
    away = [Pose(p.position + np.array([2.0, 0, 0]), p.quaternion) for p in path(20)]
    ticks = make_ticks(replace(made, measured=Stream(stamps(20), away)), CARD)
    assert np.isnan(ticks.uv).all()


def rows(motion: list[float], grip: list[float]) -> np.ndarray:
    table = np.zeros((len(motion), 7), np.float32)
    table[:, 0], table[:, 6] = motion, grip
    return table


def test_waiting_is_dropped_and_the_gripper_command_is_kept() -> None:
    """Idle ticks narrow the quantiles and teach waiting."""
    card = DataCard(keep_after_grip=0.0, keep_at_end=0.0)
    kept = kept_ticks(rows([0, 0, 0.01, 0, 0, 0.01], [1, 1, 1, 1, 0, 0]), card)
    assert kept.tolist() == [False, False, True, False, True, True]


def test_rest_after_a_gripper_command_is_part_of_the_skill() -> None:
    """Fingers need a second; without it the arm lifts while they close."""
    card = DataCard(keep_after_grip=2 / FPS, keep_at_end=0.0)
    kept = kept_ticks(rows([0.01, 0, 0, 0, 0.01], [1, 0, 0, 0, 0]), card)
    assert kept.tolist() == [True, True, True, False, True]


def test_coming_to_rest_is_kept_but_waiting_at_the_start_never_is() -> None:
    card = DataCard(keep_after_grip=0.0, keep_at_end=2 / FPS)
    kept = kept_ticks(rows([0, 0, 0.01, 0, 0, 0, 0], [1] * 7), card)
    assert kept.tolist() == [False, False, True, True, True, False, False]


def test_small_turns_count_as_motion() -> None:
    table = rows([0, 0], [1, 1])
    table[1, 5] = 2e-3
    card = DataCard(keep_after_grip=0.0, keep_at_end=0.0)
    assert kept_ticks(table, card).tolist() == [False, True]
