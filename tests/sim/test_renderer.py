"""Pictures of the scene: colour, depth and camera model must describe the same world."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import mujoco
import numpy as np
import pytest

from molmoact_ros.sim import scene
from molmoact_ros.sim.cameras import EXTERNAL, WRIST
from molmoact_ros.sim.layout import SceneSpec, scene_spec
from molmoact_ros.sim.objects import CUBE_SIZE, CUBES, FOOTPRINTS
from molmoact_ros.sim.renderer import CameraFrame, SceneRenderer

WIDTH, HEIGHT = 320, 240


class Stage:
    """A renderer and the joint vectors to show it."""

    def __init__(self) -> None:
        first = scene_spec(0)
        self.renderer = SceneRenderer(first, WIDTH, HEIGHT)
        self.model = scene.build_model(first)
        self.data = mujoco.MjData(self.model)

    def home(self, spec: SceneSpec) -> np.ndarray:
        self.data.qpos[:7], self.data.qpos[7:9] = scene.HOME_Q, 0.04
        scene.place_objects(self.model, self.data, spec)
        return self.data.qpos.copy()

    def shoot(self, spec: SceneSpec) -> dict[str, CameraFrame]:
        return self.renderer.render(self.home(spec), spec)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.renderer.close()


@pytest.mark.parametrize("name", ["external", "wrist"])
def test_frames_have_the_promised_form(stage: Stage, name: str) -> None:
    frame = stage.shoot(scene_spec(1))[name]
    assert frame.rgb.shape == (HEIGHT, WIDTH, 3) and frame.rgb.dtype == np.uint8
    assert frame.depth.shape == (HEIGHT, WIDTH) and frame.depth.dtype == np.float32
    assert frame.rgb.flags.c_contiguous and frame.depth.flags.c_contiguous
    assert np.isfinite(frame.depth).all() and frame.depth.min() > 0.03
    assert frame.rgb.std() > 20


@pytest.mark.parametrize("name", ["external", "wrist"])
def test_depth_lifts_to_the_table_plane(stage: Stage, name: str) -> None:
    """Depth, intrinsics and extrinsics agree, or perception would be off everywhere."""
    frame = stage.shoot(scene_spec(2))[name]
    v, u = np.mgrid[0:HEIGHT:3, 0:WIDTH:3]
    pixels = np.stack([u.ravel(), v.ravel()], axis=1).astype(float)
    points = frame.camera.lift(pixels, frame.depth[v.ravel(), u.ravel()].astype(float))
    # The mounting plate under the arm lies 2.5 mm higher.
    on_table = (np.abs(points[:, 2]) < 0.01) & (points[:, 0] > 0.15)
    assert on_table.mean() > 0.3
    assert np.median(np.abs(points[on_table, 2])) < 0.0005
    assert np.percentile(np.abs(points[on_table, 2]), 95) < 0.002


def test_cube_tops_are_where_truth_says(stage: Stage) -> None:
    """Half a pixel of offset between depth and colour shows up here as millimetres."""
    errors = []
    for seed in range(6):
        spec = scene_spec(seed)
        frame = stage.shoot(spec)["external"]
        tops = np.array([spec.poses[cube].position + [0, 0, CUBE_SIZE / 2] for cube in CUBES])
        pixels, depth = frame.camera.project(tops)
        for top, (u, v), z in zip(tops, np.rint(pixels).astype(int), depth, strict=True):
            if frame.depth[v, u] < z - 0.03:
                continue  # the hand is in front of it
            point = frame.camera.lift(np.array([[u, v]]), np.array([frame.depth[v, u]]))[0]
            errors.append(np.abs(point - top))
    assert len(errors) > 15
    assert np.max(np.array(errors)[:, 2]) < 0.003
    assert np.max(np.array(errors)[:, :2]) < 0.004


def test_cubes_look_like_their_names_in_every_light(stage: Stage) -> None:
    """The expert finds cubes by hue; light and warmth vary but a name must stay true."""
    strongest = {"red_cube": (0,), "green_cube": (1,), "blue_cube": (2,), "yellow_cube": (0, 1)}
    seen = 0
    for seed in range(12):
        spec = scene_spec(seed)
        frame = stage.shoot(spec)["external"]
        for cube, channels in strongest.items():
            top = spec.poses[cube].position + [0, 0, CUBE_SIZE / 2]
            pixels, depth = frame.camera.project(top)
            u, v = np.rint(pixels[0]).astype(int)
            if frame.depth[v, u] < depth[0] - 0.03:
                continue
            colour = frame.rgb[v, u].astype(float)
            others = [i for i in range(3) if i not in channels]
            assert colour[list(channels)].min() > 1.35 * colour[others].max(), (seed, cube, colour)
            assert colour.max() > 40
            seen += 1
    assert seen > 40


def test_external_camera_sees_the_whole_workspace() -> None:
    """Objects, the hand at home and the hand while carrying must stay in the picture."""
    camera = EXTERNAL.camera(640, 480)
    for seed in range(60):
        spec = scene_spec(seed)
        for name in spec.visible:
            radius, turn = FOOTPRINTS[name].radius, np.linspace(0, 2 * np.pi, 12)
            rim = radius * np.stack([np.cos(turn), np.sin(turn), 0 * turn], axis=1)
            low = spec.poses[name].position * [1, 1, 0] + rim
            points = np.concatenate([low, low + [0, 0, 0.05]])
            _inside(camera.project(points)[0], margin=4)
    hand = np.array(list(itertools.product((-0.03, 0.03), (-0.1, 0.1), (0.0, 0.14))))
    for spot in [(0.45, 0.0, 0.30), (0.38, -0.28, 0.2), (0.38, 0.28, 0.2), (0.66, 0.0, 0.2)]:
        _inside(camera.project(hand + np.array(spot))[0], margin=4)


def _inside(pixels: np.ndarray, margin: float) -> None:
    assert (pixels >= margin).all()
    assert (pixels <= np.array([640, 480]) - margin).all()


def test_wrist_camera_sees_the_finger_tips_and_what_is_between() -> None:
    camera = WRIST.camera(640, 480, np.eye(4))
    open_tips = np.array([[0.0, -0.04, 0.105], [0.0, 0.04, 0.105], [0.0, 0.0, 0.1034]])
    pixels, depth = camera.project(open_tips)
    _inside(pixels, margin=10)
    assert (depth > 0.07).all()  # the D405 measures from 7 cm on


def test_camera_models_follow_their_data_sheets() -> None:
    """fx about 615 px at 640x480 is a D435's colour stream."""
    camera = EXTERNAL.camera(640, 480)
    assert camera.fx == camera.fy == pytest.approx(615, abs=2)
    assert (camera.cx, camera.cy) == (319.5, 239.5)
    small = EXTERNAL.camera(320, 240)
    assert small.fx == pytest.approx(camera.fx / 2)


@pytest.mark.parametrize("setup", [EXTERNAL, WRIST])
def test_optical_frames_are_proper_and_upright(setup: type[EXTERNAL]) -> None:
    """z forward, x right, y down: a mirrored frame would flip every trace."""
    pose = setup.mount_from_optical
    np.testing.assert_allclose(pose[:3, :3].T @ pose[:3, :3], np.eye(3), atol=1e-12)
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1.0)
    down = -np.array(setup.up)
    assert pose[:3, 1] @ down > 0.3


def test_wrist_camera_needs_the_hand() -> None:
    with pytest.raises(ValueError, match="base_from_hand"):
        WRIST.camera(320, 240)


def test_a_new_seed_changes_looks_without_rebuilding(stage: Stage) -> None:
    first, second = scene_spec(0), scene_spec(5)
    qpos = stage.home(second)
    before = stage.renderer.render(qpos, first)["external"]
    after = stage.renderer.render(qpos, second)["external"]
    again = stage.renderer.render(qpos)["external"]
    assert np.abs(before.rgb.astype(int) - after.rgb).mean() > 1
    np.testing.assert_array_equal(after.rgb, again.rgb)


def test_hidden_distractors_leave_no_trace(stage: Stage) -> None:
    """A parked object in the background would be a wrong detection for ever."""
    spec = next(s for s in map(scene_spec, range(50)) if len(s.hidden) == 3)
    qpos = stage.home(spec)
    away = qpos.copy()
    address = stage.model.joint("distractor_ball_joint").qposadr[0]
    away[address + 1] += 5.0
    one = stage.renderer.render(qpos, spec)["external"]
    two = stage.renderer.render(away, spec)["external"]
    np.testing.assert_array_equal(one.rgb, two.rgb)
    np.testing.assert_array_equal(one.depth, two.depth)


def test_a_forgotten_renderer_does_not_spoil_the_next(stage: Stage) -> None:
    """OpenGL objects freed in the wrong context would turn other pictures into noise."""
    spec = scene_spec(2)
    want = stage.shoot(spec)["external"]
    for _ in range(2):
        forgotten = SceneRenderer(spec, 160, 120)
    del forgotten
    got = stage.shoot(spec)["external"]
    np.testing.assert_array_equal(got.rgb, want.rgb)
    np.testing.assert_array_equal(got.depth, want.depth)


@pytest.mark.parametrize("bad", [np.zeros(9), np.full(72, np.nan)])
def test_foreign_joint_vectors_are_refused(stage: Stage, bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected finite"):
        stage.renderer.render(bad)
