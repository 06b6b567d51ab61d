"""The scripted policy on rendered pictures: it sees, answers in a model's words, and refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import mujoco
import numpy as np
import pytest

from molmoact_ros.geometry import Pose
from molmoact_ros.policy.base import Observation, PolicyError
from molmoact_ros.policy.scripted.colours import NAMES, hue_labels
from molmoact_ros.policy.scripted.percept import CUBES, square_angle
from molmoact_ros.policy.scripted.perception import perceive
from molmoact_ros.policy.scripted.policy import ScriptedPolicy
from molmoact_ros.policy.scripted.statistics import KEY, sim_statistics
from molmoact_ros.policy.scripted.trace import trace_of_path
from molmoact_ros.reasoning.answer import AnswerContract, parse_answer
from molmoact_ros.reasoning.thought import ThoughtRefused
from molmoact_ros.sim.layout import scene_spec
from molmoact_ros.sim.renderer import CameraFrame, SceneRenderer
from molmoact_ros.sim.scene import HOME_Q, apply_spec, build_model, object_poses, tcp_pose

SIZE = (320, 240)
Shoot = Callable[..., tuple[CameraFrame, dict[str, Pose], Pose]]


class Codes:
    """A depth tokenizer that needs no weights."""

    def encode(self, depth_metres: np.ndarray, /) -> np.ndarray:
        assert depth_metres.dtype == np.float32
        return (np.arange(100) % 128).astype(np.uint8).reshape(10, 10)


@pytest.fixture(scope="module")
def shoot() -> Iterator[Shoot]:
    """shoot(seed, hide=()) -> external frame, true poses, tool pose; the arm at home."""
    spec = scene_spec(0)
    model = build_model(spec)
    data = mujoco.MjData(model)
    arm = [model.joint(f"robot0_fr3_joint{i}").qposadr[0] for i in range(1, 8)]
    renderer = SceneRenderer(spec, *SIZE)

    def take(seed: int, hide: tuple[str, ...] = ()) -> tuple[CameraFrame, dict[str, Pose], Pose]:
        spec = scene_spec(seed, camera_jitter=0.5)
        data.qpos[arm] = HOME_Q
        apply_spec(model, data, spec)
        for name in hide:
            data.joint(f"{name}_joint").qpos[:3] = (-3.0, 0.0, -0.5)
        mujoco.mj_forward(model, data)
        frame = renderer.render(data.qpos, spec, cameras=("external",))["external"]
        return frame, object_poses(data), tcp_pose(data)

    yield take
    renderer.close()


def observe(frame: CameraFrame, tool: Pose, instruction: str) -> Observation:
    depth = (np.rint(frame.depth * 1000) / 1000).astype(np.float32)
    return Observation(1.0, (frame.rgb,), instruction, depth, frame.camera, tool, tool, 0.08)


def test_finds_everything_within_six_millimetres(shoot: Shoot) -> None:
    """The grasp tolerates about a centimetre; perception may use half of it."""
    for seed in range(200, 206):
        frame, truth, _ = shoot(seed)
        found = perceive(frame.rgb, frame.depth, frame.camera).detections
        for name in (*CUBES, "plate", "bowl"):
            error = found[name].position - truth[name].position
            assert np.linalg.norm(error) < 0.006, (seed, name, error)
        for name in CUBES:
            assert abs(square_angle(found[name].yaw - truth[name].yaw)) < np.radians(8), name


def test_survives_a_noisy_depth_camera(shoot: Shoot) -> None:
    """A real D435 has millimetres of noise and holes."""
    rng = np.random.default_rng(0)
    frame, truth, _ = shoot(210)
    depth = frame.depth + rng.normal(0.0, 0.0015, frame.depth.shape).astype(np.float32)
    depth[rng.random(depth.shape) < 0.02] = 0.0
    depth[rng.random(depth.shape) < 0.01] = np.nan
    found = perceive(frame.rgb, depth, frame.camera).detections
    for name in (*CUBES, "plate", "bowl"):
        assert np.linalg.norm(found[name].position - truth[name].position) < 0.010, name


def test_what_is_not_there_is_not_found(shoot: Shoot) -> None:
    """Distractors and the robot's white and dark parts must not become cubes or dishes."""
    for seed in range(220, 224):
        frame, _, _ = shoot(seed, hide=(*CUBES, "plate", "bowl"))
        assert not perceive(frame.rgb, frame.depth, frame.camera).detections


def test_hues_keep_their_names_in_warm_and_cold_light() -> None:
    patches = {"red": (200, 25, 25), "green": (30, 150, 60), "blue": (30, 70, 200)}
    patches |= {"yellow": (230, 190, 30), "orange": (235, 115, 40), "cyan": (60, 200, 200)}
    for name, colour in patches.items():
        for warm in ((1.06, 1.0, 0.9), (0.94, 1.0, 1.1)):
            for shade in (0.5, 1.0):
                pixel = np.clip(np.multiply(colour, warm) * shade, 0, 255).astype(np.uint8)
                label = int(hue_labels(pixel.reshape(1, 1, 3))[0, 0])
                assert NAMES[label] == name, (name, warm, shade)


def test_a_thought_is_an_answer_a_model_could_have_given(shoot: Shoot) -> None:
    """Everything behind the policy must meet the same text a model writes."""
    frame, _, tool = shoot(230)
    policy = ScriptedPolicy(Codes())
    policy.reset("put the red cube on the plate")
    observation = observe(frame, tool, "put the red cube on the plate")
    thought = policy.think(observation, lambda: False)
    again = parse_answer(thought.text, AnswerContract(sim_statistics()))
    assert np.array_equal(again.actions, thought.actions)
    assert thought.actions.shape == (8, 7)
    assert np.linalg.norm(thought.actions[:, :3], axis=1).max() < 0.0135
    assert thought.depth is not None and thought.depth.shape == (10, 10)
    assert {"perceive", "plan", "depth", "write", "parse"} <= set(thought.timings)
    start = frame.camera.project(tool.position[None])[0][0]
    drawn = thought.trace[0] * np.array(SIZE) / 255.0
    assert np.linalg.norm(drawn - start) < 3.0


def test_the_trace_ends_at_the_goal(shoot: Shoot) -> None:
    """An operator reads the intention from the line's end."""
    frame, truth, tool = shoot(231)
    policy = ScriptedPolicy(Codes())
    policy.reset("pick up the blue cube")
    thought = policy.think(observe(frame, tool, "pick up the blue cube"), lambda: False)
    lifted = truth["blue_cube"].position + [0.0, 0.0, 0.15]
    end = frame.camera.project(lifted[None])[0][0]
    assert np.linalg.norm(thought.trace[-1] * np.array(SIZE) / 255.0 - end) < 10.0


def test_says_what_it_cannot_see(shoot: Shoot) -> None:
    """With the hand out of the way one image may err, the second must end in words."""
    frame, _, tool = shoot(232, hide=("red_cube",))
    policy = ScriptedPolicy(Codes())
    policy.reset("pick up the red cube")
    observation = observe(frame, tool, "pick up the red cube")
    waiting = policy.think(observation, lambda: False)
    assert np.abs(waiting.actions[:, :6]).max() < 1e-9
    with pytest.raises(PolicyError, match=r"cannot see the red cube.*blue cube.*Move it into"):
        policy.think(observation, lambda: False)


@pytest.mark.parametrize("words", ["", "dance", "put the red cube on the moon"])
def test_lists_what_can_be_asked(words: str) -> None:
    with pytest.raises(PolicyError, match="put the red cube on the plate"):
        ScriptedPolicy(Codes()).reset(words)


@pytest.mark.parametrize(
    ("missing", "remedy"),
    [
        ({"depth": None}, "align_depth"),
        ({"camera": None}, "camera_info"),
        ({"ee_pose": None}, "current_pose"),
        ({"gripper_width": None}, "gripper/joint_states"),
        ({"gripper_width": float("nan")}, "restart the arm's node"),
        ({"depth": np.zeros((10, 10), np.float32)}, "aligned to colour"),
        ({"depth": np.zeros((240, 320), np.float32)}, "aligned depth"),
    ],
)
def test_missing_inputs_end_in_words(shoot: Shoot, missing: dict[str, object], remedy: str) -> None:
    frame, _, tool = shoot(233)
    observation = replace(observe(frame, tool, "pick up the red cube"), **missing)
    with pytest.raises(PolicyError, match=remedy):
        ScriptedPolicy(Codes()).think(observation, lambda: False)


def test_a_canceled_thought_is_refused(shoot: Shoot) -> None:
    frame, _, tool = shoot(234)
    with pytest.raises(ThoughtRefused):
        ScriptedPolicy(Codes()).think(observe(frame, tool, "pick up the red cube"), lambda: True)


def test_points_outside_the_image_are_left_out(shoot: Shoot) -> None:
    frame, _, tool = shoot(235)
    path = np.stack([tool.position, [5.0, 5.0, 0.3], tool.position - [0.0, 0.0, 0.1]])
    trace = trace_of_path(path, frame.camera)
    assert len(trace) == 2
    with pytest.raises(ValueError, match="turn the camera"):
        trace_of_path(path[1:2], frame.camera)


def test_the_chosen_statistics_cover_every_step() -> None:
    """A step beyond q99 would be clipped silently when it is spelled."""
    statistics = sim_statistics()
    assert KEY == "molmoact_ros_sim"
    assert statistics.q99.tolist() == [0.02] * 3 + [0.1] * 3 + [1.0]
    assert statistics.q01[:6].tolist() == [-0.02] * 3 + [-0.1] * 3
    assert not statistics.mask[6]
