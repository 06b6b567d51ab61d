"""States drawn at random: possible ones only, with the expert's own thoughts as labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from molmoact_ros.cli import main
from molmoact_ros.data.dataset import DataSet
from molmoact_ros.data.landmarks import NAMES, read_landmarks
from molmoact_ros.data.scatter import Scatterer, Share
from molmoact_ros.data.scatter_command import scatter_card
from molmoact_ros.data.scatter_states import draw_state, other_goals
from molmoact_ros.policy.scripted.estimate import Hand
from molmoact_ros.policy.scripted.expert import next_row
from molmoact_ros.policy.scripted.statistics import KEY
from molmoact_ros.train.packing import Packed
from molmoact_ros.train.recipe import PRESETS, changed
from molmoact_ros.train.sizes import save_untrained
from molmoact_ros.train.stream import Source, Visits

FIRST = 1_000_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("scatter")
    scatterer = Scatterer(scatter_card(0.0))
    for first in (FIRST, FIRST + 100):
        scatterer.share(Share(out, first, frames=4))
    scatterer.close()
    assert main(["scatter", "--out", str(out), "--finish"]) == 0
    return out


def test_states_are_the_same_for_the_same_seed_and_stay_in_reach() -> None:
    for seed in range(FIRST, FIRST + 60):
        one, two = draw_state(seed), draw_state(seed)
        assert np.array_equal(one.tool.position, two.tool.position)
        assert one.goal == two.goal
        assert (np.abs(one.tool.position[:2] - (0.5, 0.0)) < 0.4).all()
        assert 0.0 < one.tool.position[2] < 0.5
        assert 0.0 <= one.width <= 0.08


def test_a_held_cube_is_between_fingers_as_wide_as_it() -> None:
    held = [s for s in map(draw_state, range(FIRST, FIRST + 120)) if s.estimate.held]
    assert len(held) > 15
    for state in held:
        item = state.estimate.items[str(state.estimate.held)]
        assert np.linalg.norm(item.position - state.tool.position) < 0.025
        assert state.width == pytest.approx(0.04)


def test_the_expert_has_an_answer_to_every_goal_in_every_state() -> None:
    rng = np.random.default_rng(0)
    for seed in range(FIRST, FIRST + 60):
        state = draw_state(seed)
        goals = [state.goal, *other_goals(rng, state, 2)]
        assert len(set(goals)) == 3
        for goal in goals:
            row = next_row(state.estimate, Hand(state.tool, state.tool, state.width), goal)
            assert np.isfinite(row.delta).all()


def test_rows_of_a_frame_share_pictures_and_ask_different_things(folder: Path) -> None:
    data = DataSet(folder, "")
    assert data.card.name == KEY
    for frame in data.frames:
        ticks = [data.tick(int(number)) for number in frame]
        assert len({tick.instruction for tick in ticks}) == len(ticks) > 1
        assert all(np.array_equal(t.pictures[0], ticks[0].pictures[0]) for t in ticks)
        assert all(np.array_equal(t.depth, ticks[0].depth) for t in ticks)
        assert ticks[0].actions.shape == (8, 7)


def test_the_trace_begins_where_the_tool_is_seen(folder: Path) -> None:
    data = DataSet(folder, "")
    for number in range(len(data)):
        tick = data.tick(number)
        assert tick.trace is not None and tick.landmarks is not None
        tool = read_landmarks(tick.landmarks).uv[0, NAMES.index("tool")] * 255.0
        assert np.abs(tick.trace[0] - tool).max() < 2.5


def test_a_visit_is_a_pack_of_the_goals_of_one_frame(folder: Path, tmp_path: Path) -> None:
    save_untrained(tmp_path / "base", "micro", folder, 0)
    recipe = changed(PRESETS["micro-cpu"], {"steer": "0", "whole": "1"})
    visit = Visits(Source((folder,), tmp_path / "base", recipe, split=""))[0]
    assert isinstance(visit, Packed)
    assert visit.segment.max() == 3
    assert visit.landmarks is not None


def test_scenes_for_scoring_cannot_be_trained_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["scatter", "--out", str(tmp_path), "--first-seed", "5"]) == 2
    assert "scoring" in capsys.readouterr().err
