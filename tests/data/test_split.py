"""Held-out episodes stay held out, whatever is recorded later."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from molmoact_ros.data.dataset import EPISODES, DataSet, finish, read_episodes
from molmoact_ros.data.label import label_episode
from molmoact_ros.data.split import split_of

sys.path.insert(0, str(Path(__file__).parent))
from data_helpers import make_data, recording
from motion_helpers import ACTIONS_ONLY


def _held(split: dict[str, str]) -> set[str]:
    return {name for name, side in split.items() if side == "held_out"}


def test_one_more_episode_moves_no_other_one_back_to_training() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        names = [f"take {number}" for number in rng.integers(0, 10**9, 40)]
        split: dict[str, str] = {}
        for count in range(2, 41):
            grown = split_of(dict.fromkeys(names[:count], "a"), split)
            assert _held(split) <= _held(grown)
            # Only a task that has just become large takes an episode from training.
            if count not in (2, 10):
                assert _held(grown) - _held(split) <= {names[count - 1]}
            split = grown
            assert len(_held(split)) >= (2 if count >= 10 else 1)


def test_of_many_episodes_five_in_a_hundred_are_held_out_by_their_own_hash() -> None:
    names = {f"take {number}": "a" for number in range(2000)}
    split = split_of(names)
    assert 70 < len(_held(split)) < 130
    half = dict(list(names.items())[:1000])
    assert _held(split_of(half)) == _held(split) & set(half)


def test_a_recorded_split_stays_when_episodes_are_added(tmp_path: Path) -> None:
    folder = make_data(tmp_path, 4, 12, ACTIONS_ONLY)
    before = {entry["episode_id"]: entry["split"] for entry in read_episodes(folder)}
    for seed in range(4, 8):
        label_episode(recording(12, seed), folder, ACTIONS_ONLY, None, f"bag {seed}")
    finish(folder, ACTIONS_ONLY)
    after = {entry["episode_id"]: entry["split"] for entry in read_episodes(folder)}
    assert len(after) == 8 and before.items() <= after.items()
    assert all(rows.info["split"] == "held_out" for rows in DataSet(folder, "held_out").episodes)


def test_a_damaged_list_of_episodes_is_made_again(tmp_path: Path) -> None:
    folder = make_data(tmp_path, 4, 12, ACTIONS_ONLY)
    before = (folder / EPISODES).read_text()
    (folder / EPISODES).write_text(before[:40])
    finish(folder, ACTIONS_ONLY)
    assert (folder / EPISODES).read_text() == before
