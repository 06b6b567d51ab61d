"""Which row of which thought runs, and what is thrown away."""

from __future__ import annotations

import numpy as np
import pytest

from molmoact_ros.control.chunk_queue import ChunkQueue, Row
from molmoact_ros.control.guards import Limits, Refused

T = 0.1


def chunk(rows: int = 8, step: float = 0.01, gripper: float = 1.0) -> np.ndarray:
    out = np.zeros((rows, 7))
    out[:, 0], out[:, 6] = step, gripper
    return out


def queue(crossfade_rows: int = 3) -> ChunkQueue:
    return ChunkQueue(Limits(), T, crossfade_rows)


def pull(q: ChunkQueue, now: float) -> list[Row]:
    rows = []
    while (row := q.next_row(now)) is not None:
        rows.append(row)
    return rows


def test_rows_begin_one_period_apart_and_run_out() -> None:
    """The period is the contract between policy and arm."""
    q = queue()
    assert q.accept(chunk(3), 5.0, 5.0) == 0
    assert [r.index for r in pull(q, 5.0)] == [0]
    assert pull(q, 5.05) == []
    assert [(r.index, round(r.start, 6)) for r in pull(q, 5.21)] == [(1, 5.1), (2, 5.2)]
    assert q.running(5.29) and not q.running(5.31)


def test_a_still_arm_executes_the_whole_chunk() -> None:
    """A slow policy would otherwise never move: all its rows would count as elapsed."""
    q = queue()
    assert q.accept(chunk(), start_stamp=4.2, now=5.0) == 0
    assert len(q.pending) == 8


def test_rows_executed_since_the_image_are_dropped() -> None:
    """Executing them again would double the motion."""
    q = queue()
    q.accept(chunk(), 0.0, 0.0)
    pull(q, 0.35)  # rows 0..3 begun, row 3 ends at 0.4
    assert q.accept(chunk(), start_stamp=0.1, now=0.35) == 3
    assert len(q.pending) == 5
    rows = pull(q, 0.45)
    assert [(r.index, round(r.start, 6)) for r in rows] == [(3, 0.4)]


def test_rows_waiting_to_be_fetched_do_not_shift_the_grid() -> None:
    """A chunk that arrives between two ticks must not lose or repeat a row."""
    q = queue()
    q.accept(chunk(), 0.0, 0.0)
    pull(q, 0.05)
    assert q.accept(chunk(), start_stamp=0.0, now=0.103) == 1
    assert [round(r.start, 6) for r in pull(q, 0.11)] == [0.1]


def test_the_first_rows_are_crossfaded_but_the_gripper_is_not() -> None:
    """A seam without blending shakes the arm; a blended gripper would chatter."""
    q = queue(crossfade_rows=2)
    q.accept(chunk(step=0.0, gripper=0.0), 0.0, 0.0)
    pull(q, 0.0)
    q.accept(chunk(step=0.012), start_stamp=0.0, now=0.05)
    rows = pull(q, 0.45)
    np.testing.assert_allclose([r.delta[0] for r in rows], [0.004, 0.008, 0.012, 0.012])
    assert all(r.gripper == 1.0 for r in rows)


def test_a_chunk_that_jumps_is_refused_and_the_old_one_goes_on() -> None:
    """Reversing at full speed is a mistake of the policy, not a motion."""
    q = queue()
    q.accept(chunk(step=0.02), 0.0, 0.0)
    pull(q, 0.0)
    with pytest.raises(Refused, match="jumps"):
        q.accept(chunk(step=-0.02), 0.0, 0.05)
    assert len(q.pending) == 7
    assert pull(q, 0.1)[0].delta[0] == pytest.approx(0.02)


def test_a_chunk_that_is_all_past_is_refused() -> None:
    """Its deltas have been executed already."""
    q = queue()
    q.accept(chunk(8), 0.0, 0.0)
    pull(q, 0.65)
    with pytest.raises(Refused, match="too late"):
        q.accept(chunk(6), start_stamp=0.0, now=0.65)


def test_chunks_of_an_ended_goal_are_refused() -> None:
    """A late thought of a cancelled task must not move the arm of the next one."""
    q = queue()
    q.accept(chunk(), 0.0, 0.0, "a")
    q.end_goal("a", 0.1)
    assert not q.running(0.1)
    with pytest.raises(Refused, match="ended"):
        q.accept(chunk(), 0.1, 0.1, "a")
    q.accept(chunk(), 0.2, 0.2, "b")
    with pytest.raises(Refused, match="ended"):
        q.accept(chunk(), 0.2, 0.2, "a")


def test_a_new_goal_ends_the_older_one_but_not_the_other_way_round() -> None:
    """Ending goal a late must not throw away what goal b does."""
    q = queue()
    q.accept(chunk(), 0.0, 0.0, "a")
    q.accept(chunk(), 0.0, 0.0, "b")
    with pytest.raises(Refused, match="ended"):
        q.accept(chunk(), 0.0, 0.0, "a")
    q.end_goal("a", 0.05)
    assert q.running(0.05)


def test_clear_drops_the_row_in_progress() -> None:
    """After a hold nothing of the old motion may come back."""
    q = queue()
    q.accept(chunk(), 0.0, 0.0)
    pull(q, 0.0)
    q.clear(0.03)
    assert not q.running(0.03) and pull(q, 1.0) == []
    assert q.accept(chunk(), start_stamp=0.5, now=1.0) == 0


def test_impossible_queues_are_refused() -> None:
    """A zero period would run a whole chunk at once."""
    with pytest.raises(ValueError, match="not possible"):
        ChunkQueue(Limits(), 0.0)
