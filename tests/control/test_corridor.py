"""The soft corridor: bends rows towards a drawn path, a little, and never past a guard."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from molmoact_ros.control.command import Source
from molmoact_ros.control.commander import Commander
from molmoact_ros.control.corridor import Corridor, path_above
from molmoact_ros.control.limits import Limits
from molmoact_ros.geometry import Camera, Pose

PATH = np.array([[0.4, -0.1, 0.2], [0.5, -0.1, 0.2], [0.5, 0.2, 0.2]])
CORRIDOR = Corridor(PATH, radius_m=0.02, pull_m=0.004)
STEP = 0.02
places = arrays(np.float64, 3, elements=st.floats(-1.0, 1.0))
rows = arrays(np.float64, 6, elements=st.floats(-0.02, 0.02))
paths = arrays(np.float64, st.tuples(st.integers(2, 5), st.just(3)), elements=st.floats(-1, 1))


def row(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> np.ndarray:
    return np.array([x, y, z, 0.0, 0.0, 0.0])


def test_inside_the_corridor_the_policy_has_its_way() -> None:
    delta = row(x=0.01)
    assert np.array_equal(CORRIDOR.bent(np.array([0.42, -0.09, 0.3]), delta, STEP), delta)


def test_outside_a_row_is_bent_towards_the_path_and_not_up_or_down() -> None:
    bent = CORRIDOR.bent(np.array([0.42, -0.05, 0.35]), row(x=0.01), STEP)
    assert np.allclose(bent, [0.01, -0.004, 0, 0, 0, 0])


def test_heights_count_only_when_asked_for() -> None:
    """What lies under a line is a surface: pulling there by default would push into it."""
    above = np.array([0.42, -0.1, 0.5])
    assert np.array_equal(CORRIDOR.bent(above, row(x=0.01), STEP), row(x=0.01))
    full = Corridor(PATH, radius_m=0.02, pull_m=0.004, vertical=1.0)
    assert np.allclose(full.bent(above, row(x=0.01), STEP)[:3], [0.01, 0.0, -0.004])


def test_an_arm_that_is_told_to_stand_stands() -> None:
    """A pull of its own would be a motion that no policy asked for."""
    assert np.array_equal(CORRIDOR.bent(np.array([0.42, 0.3, 0.3]), row(), STEP), row())
    slow = CORRIDOR.bent(np.array([0.42, 0.05, 0.3]), row(x=0.001), STEP)
    assert np.linalg.norm(slow - row(x=0.001)) <= 0.001 + 1e-12


def test_beyond_the_ends_nothing_pulls_back() -> None:
    """After the path the hand must be free to lift, to place, to leave."""
    for place in ([0.5, 0.35, 0.2], [0.3, -0.1, 0.2]):
        delta = row(x=0.005, y=0.01)
        assert np.array_equal(CORRIDOR.bent(np.array(place), delta, STEP), delta)


@given(points=paths, place=places, delta=rows, vertical=st.floats(0.0, 1.0))
@settings(max_examples=300, deadline=None)
def test_a_bend_is_bounded_never_leads_away_and_keeps_turns(
    points: np.ndarray, place: np.ndarray, delta: np.ndarray, vertical: float
) -> None:
    corridor = Corridor(points, radius_m=0.03, pull_m=0.004, vertical=vertical)
    bent = corridor.bent(place, delta, STEP)
    length = np.linalg.norm(delta[:3])
    assert np.array_equal(bent[3:], delta[3:])
    assert np.linalg.norm(bent[:3]) <= max(STEP, length) + 1e-9
    change = np.linalg.norm(bent[:3] - delta[:3])
    if np.linalg.norm(bent[:3]) < max(STEP, length) - 1e-12:
        assert change <= min(0.004, length) + 1e-9
        before = np.linalg.norm(corridor.off_path(place + delta[:3]))
        scale = np.array([1.0, 1.0, vertical])
        nearest = (place + delta[:3]) * scale + corridor.off_path(place + delta[:3])
        after = np.linalg.norm(nearest - (place + bent[:3]) * scale)
        assert after <= before + 1e-9


@pytest.mark.parametrize(
    "wrong",
    [
        {"points": np.zeros((1, 3))},
        {"points": np.full((2, 3), np.nan)},
        {"points": PATH, "radius_m": -0.1},
        {"points": PATH, "pull_m": np.inf},
        {"points": PATH, "vertical": 1.5},
    ],
)
def test_damaged_corridors_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="corridor"):
        Corridor(**wrong)  # type: ignore[arg-type]


def slanted_camera() -> Camera:
    """1 m away and 0.8 m up, looking at (0.45, 0, 0)."""
    eye, target = np.array([1.4, 0.0, 0.8]), np.array([0.45, 0.0, 0.0])
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    pose[:3, 3] = eye
    return Camera(640, 480, 600.0, 600.0, 320.0, 240.0, pose)


def test_a_raised_path_is_seen_where_it_was_drawn() -> None:
    """Straight above the surface the tool would be seen beside the line that was drawn."""
    camera, surface = slanted_camera(), np.array([[0.4, -0.1, 0.0], [0.5, 0.1, 0.05]])
    path = path_above(surface, camera, 0.08)
    assert np.allclose(path[:, 2] - surface[:, 2], 0.08)
    assert np.allclose(camera.project(path)[0], camera.project(surface)[0], atol=1e-6)
    tool = np.array([0.42, -0.1, 0.3])
    assert np.array_equal(path_above(surface, camera, 0.08, tool)[0], tool)
    with pytest.raises(ValueError, match="camera is"):
        path_above(surface + (0, 0, 0.75), camera, 0.08)


def driven(corridor: Corridor | None, delta: np.ndarray, seconds: float = 3.0) -> list[np.ndarray]:
    """Where the commander leads a perfect arm with the same chunk again and again."""
    commander, now = Commander(), 100.0
    pose = Pose(np.array([0.45, 0.0, 0.3]), np.array([1.0, 0.0, 0.0, 0.0]))
    commander.set_corridor(corridor)
    out = []
    for tick in range(round(seconds / 0.01)):
        now += 0.01
        commander.feed_measured(pose.position, pose.quaternion, now)
        if tick == 5:
            commander.select_source(Source.POLICY, now)
        if tick > 10 and tick % 20 == 0:
            commander.feed_chunk(np.tile(np.append(delta, 1.0), (8, 1)), now, now, "g")
        command = commander.step(now)
        assert np.linalg.norm(command.twist[:3]) <= Limits().speed_m_s + 1e-6
        if command.pose is not None:
            pose = command.pose
            out.append(pose.position)
    return out


def test_the_commander_bends_the_way_of_a_policy_that_drifts() -> None:
    """Drift to +y with every row; the path leads along x."""
    path = Corridor(np.array([[0.44, 0.0, 0.3], [0.75, 0.0, 0.3]]), radius_m=0.01)
    drift = row(x=0.004, y=0.002)
    free, held = driven(None, drift)[-1], driven(path, drift)[-1]
    assert free[1] > 0.05
    assert abs(held[1]) < 0.02
    assert held[0] == pytest.approx(free[0], abs=0.005), "the way along the path is the policy's"


def test_a_corridor_outside_the_workspace_leads_nobody_there() -> None:
    """The wall has the last word: a path drawn behind it only ends at it."""
    limits = Limits()
    wall = limits.box_max_m[1]
    path = Corridor(np.array([[0.2, 0.9, 0.3], [0.9, 0.9, 0.3]]), radius_m=0.0, pull_m=0.01)
    way = np.stack(driven(path, row(x=0.0, y=0.008), seconds=6.0))
    assert way[:, 1].max() <= wall + 1e-9
    assert way[-1, 1] > wall - 0.05
