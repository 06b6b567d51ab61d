"""The scripted policy as a Policy: one observation in, one strictly parsed thought out.

It answers in the words of a model and reads its own answer back through the same gate, so
everything behind the policy meets a scripted thought exactly as it will meet a model's.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.geometry import Camera, Pose
from molmoact_ros.policy.base import Observation, PolicyError
from molmoact_ros.policy.scripted.estimate import Estimate, Hand
from molmoact_ros.policy.scripted.goals import RETREAT_M, Goal
from molmoact_ros.policy.scripted.instructions import goal_from_instruction
from molmoact_ros.policy.scripted.perception import perceive
from molmoact_ros.policy.scripted.rollout import Plan, roll
from molmoact_ros.policy.scripted.scene_memory import SceneMemory
from molmoact_ros.policy.scripted.sketch import SketchFollower
from molmoact_ros.policy.scripted.statistics import GRIPPER_RAW, sim_statistics
from molmoact_ros.policy.scripted.trace import trace_of_path
from molmoact_ros.reasoning.actions import encode
from molmoact_ros.reasoning.answer import AnswerContract, compose_answer, parse_answer
from molmoact_ros.reasoning.statistics import ActionStatistics
from molmoact_ros.reasoning.thought import Thought, ThoughtRefused

# Thoughts with the hand out of the way until a thing seen before counts as gone.
PATIENCE = 6


class DepthEncoder(Protocol):
    """The depth tokenizer, see ``model.depth_codec.DepthCodec``."""

    @property
    def codebook(self) -> str:
        """Which VQ-VAE the codes belong to."""
        ...

    def encode(self, depth_metres: NDArray[np.float32], /) -> NDArray[np.uint8]:
        """Metres [H, W], 0 where unknown, to codes uint8 [10, 10]."""
        ...


class ScriptedPolicy:
    """See ``policy.base.Policy``. Needs depth, calibration, tool pose and finger width.

    codec: makes the depth part of the answer. statistics: scaling of the action symbols.
    rows: length of a chunk, 1/15 s a row.
    """

    def __init__(
        self, codec: DepthEncoder, statistics: ActionStatistics | None = None, rows: int = 8
    ) -> None:
        self._codec = codec
        self._statistics = statistics or sim_statistics()
        self._contract = AnswerContract(self._statistics, rows=rows)
        self._steered = AnswerContract(self._statistics, rows=rows, steered=True)
        self._follower = SketchFollower()
        self._memory = SceneMemory()
        self._goal: Goal | None = None
        self._instruction = ""
        self._waited = 0

    @property
    def description(self) -> str:
        return "scripted expert (no learned motion: colour and depth perception and a rule)"

    @property
    def needs_geometry(self) -> bool:
        return True

    @property
    def codebook(self) -> str:
        return self._codec.codebook

    def reset(self, instruction: str) -> None:
        """Start a goal. Raises PolicyError, listing what can be asked, when not understood."""
        self._goal = goal_from_instruction(instruction)
        self._instruction = instruction
        self._memory.reset()
        self._follower.reset()
        self._waited = 0

    def think(self, observation: Observation, canceled: Callable[[], bool]) -> Thought:
        """One thought. Raises PolicyError in words when it cannot see or do what is asked."""
        if self._goal is None or observation.instruction != self._instruction:
            self.reset(observation.instruction)
        assert self._goal is not None
        watch = _Stopwatch()
        depth, camera, hand = _needed(observation)
        try:
            percept = perceive(observation.images[0], depth, camera)
        except ValueError as error:
            raise PolicyError(str(error)) from error
        estimate = self._memory.update(percept, hand, depth, camera)
        watch.lap("perceive")
        if observation.steering is not None and len(observation.steering):
            plan = self._follower.plan(observation.steering, camera, hand, self._contract.rows)
            return self._finish(None, plan, camera, watch, canceled)
        self._follower.reset()
        self._check(estimate, hand)
        plan = self._plan(estimate, hand)
        return self._finish(depth, plan, camera, watch, canceled)

    def _finish(
        self,
        depth: NDArray[np.float32] | None,
        plan: Plan,
        camera: Camera,
        watch: _Stopwatch,
        canceled: Callable[[], bool],
    ) -> Thought:
        """Write the plan as an answer and read it back; without depth: a steered answer."""
        watch.lap("plan")
        if canceled():
            raise ThoughtRefused("The goal was canceled while the policy was thinking.")
        if depth is None:
            bins = encode(self._statistics.normalise(plan.rows, GRIPPER_RAW))
            text, contract = compose_answer(None, None, bins, "steering"), self._steered
        else:
            codes = self._encode(depth)
            watch.lap("depth")
            text, contract = self._write(codes, plan, camera), self._contract
        watch.lap("write")
        thought = parse_answer(text, contract, watch.laps)
        watch.lap("parse")
        thought.timings.update(watch.laps)
        return thought

    def _plan(self, estimate: Estimate, hand: Hand) -> Plan:
        assert self._goal is not None
        return roll(estimate, hand, self._goal, rows=self._contract.rows)

    def _encode(self, depth: NDArray[np.float32]) -> NDArray[np.uint8]:
        try:
            return self._codec.encode(depth)
        except ValueError as error:
            raise PolicyError(str(error)) from error

    def _write(self, codes: NDArray[np.uint8], plan: Plan, camera: Camera) -> str:
        try:
            trace = trace_of_path(plan.path, camera)
        except ValueError as error:
            raise PolicyError(str(error)) from error
        bins = encode(self._statistics.normalise(plan.rows, GRIPPER_RAW))
        return compose_answer(codes, trace, bins, "multi")

    def _check(self, estimate: Estimate, hand: Hand) -> None:
        assert self._goal is not None
        wanted = [name for name in (self._goal.item, self._goal.target) if name]
        missing = [name for name in wanted if name not in estimate.items]
        if not missing:
            self._waited = 0
            return
        # What slipped or is hidden gets time to be seen again: the expert lifts the hand out
        # of the camera's way first.
        raised = float(hand.measured.position[2]) > estimate.table + 0.8 * RETREAT_M
        self._waited += raised
        if self._waited < (PATIENCE if estimate.lost.intersection(missing) else 2):
            return
        name = missing[0].replace("_", " ")
        seen = ", ".join(sorted(key.replace("_", " ") for key in estimate.items)) or "nothing"
        raise PolicyError(
            f"I cannot see the {name}; I see: {seen}. Move it into the external camera's view, "
            "clear of the arm, or ask for something that is there."
        )


class _Stopwatch:
    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name], self._last = now - self._last, now


def _needed(observation: Observation) -> tuple[NDArray[np.float32], Camera, Hand]:
    """Depth, calibration and hand of an observation, or PolicyError with what to connect."""
    if observation.depth is None:
        raise PolicyError(
            "The scripted policy needs depth aligned to the external image and got none; start "
            "the camera with align_depth.enable:=true, or use --policy molmoact."
        )
    if observation.camera is None:
        raise PolicyError(
            "The scripted policy needs the external camera's calibration and got none; publish "
            "its camera_info and its pose in the robot's base frame, or use --policy molmoact."
        )
    measured = observation.ee_pose
    if measured is None or observation.gripper_width is None:
        raise PolicyError(
            "The scripted policy needs the tool pose and the finger width and got none; check "
            "that the arm's node runs and publishes current_pose and gripper/joint_states."
        )
    numbers = [*_values(measured), observation.gripper_width]
    command = observation.target_pose or measured
    if not np.isfinite([*numbers, *_values(command)]).all():
        raise PolicyError(
            "The arm's pose or finger width is not a number; restart the arm's node and check "
            "its connection."
        )
    return observation.depth, observation.camera, Hand(command, measured, observation.gripper_width)


def _values(pose: Pose) -> list[float]:
    return [*pose.position.tolist(), *pose.quaternion.tolist()]
