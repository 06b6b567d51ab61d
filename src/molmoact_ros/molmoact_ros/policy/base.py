"""The seam between robot and policy: an observation goes in, a thought comes out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.geometry import Camera, Pose
from molmoact_ros.reasoning.thought import Thought


class PolicyError(RuntimeError):
    """The policy could not think at all; the message says what to do. The arm holds."""


@dataclass(frozen=True)
class Driving:
    """What the arm does with the last chunk while the next thought is made.

    executed: rows driven between the last thought's image and this one. ahead: float64 [N, D], in
    units of ``Thought.actions``: rows of the last chunk that will be driven by the time this
    thought is expected; N may be 0.
    """

    executed: int
    ahead: NDArray[np.float64]


@dataclass(frozen=True)
class Observation:
    """What the robot saw at ``stamp`` (seconds, of the first image).

    images: RGB uint8 [H, W, 3]; first the external camera, then the wrist camera.
    depth: metres float32 [H, W] registered to images[0], 0 where unknown; or None.
    camera: intrinsics of images[0] and its pose in the base frame; or None when not calibrated.
    ee_pose: measured tool centre (fr3_hand_tcp) in the base frame at ``stamp``.
    target_pose: the pose commanded at ``stamp``; deltas of the chunk are applied to it.
    gripper_width: metres between the fingers.
    steering: a drawn trace float32 [L, 2] on the 0..255 grid of images[0]; or None.
    driving: what the arm does meanwhile; or None when nobody knows.
    Model policies use images and instruction only; geometry is for the scripted expert.
    """

    stamp: float
    images: tuple[NDArray[np.uint8], ...]
    instruction: str
    depth: NDArray[np.float32] | None = None
    camera: Camera | None = None
    ee_pose: Pose | None = None
    target_pose: Pose | None = None
    gripper_width: float | None = None
    steering: NDArray[np.float32] | None = None
    driving: Driving | None = None


class Policy(Protocol):
    """Call order: ``reset`` when a goal starts, then ``think`` again and again, one thread."""

    @property
    def description(self) -> str:
        """Model name and revision, and in plain words where its weights come from."""
        ...

    @property
    def needs_geometry(self) -> bool:
        """Whether observations must hold depth, calibration, poses and finger width."""
        ...

    @property
    def codebook(self) -> str:
        """Of its depth codes, see ``model.codebook``; empty: nobody knows, or it writes none."""
        ...

    def reset(self, instruction: str) -> None:
        """Forget the last episode. Raises PolicyError when the instruction cannot be served."""
        ...

    def think(self, observation: Observation, canceled: Callable[[], bool]) -> Thought:
        """One thought. Raises ThoughtRefused (bad answer) or PolicyError (cannot think)."""
        ...


@dataclass(frozen=True)
class Segment:
    """A part of a thought that is already certain while the rest is still being decoded.

    kind and values: "depth" codes uint8 [rows, cols]; "trace" float32 [L, 2] on the 0..255 grid;
    "row" float64 [D], one action in the units of ``Thought.actions``. index: number of the row
    (0 for depth and trace). A segment is for watching: only a whole thought may become a motion.
    """

    kind: Literal["depth", "trace", "row"]
    index: int
    values: NDArray[np.generic]


@runtime_checkable
class StreamingPolicy(Protocol):
    """A Policy that hands out the parts of a thought as they are decoded."""

    def think_streaming(
        self,
        observation: Observation,
        canceled: Callable[[], bool],
        on_segment: Callable[[Segment], None],
    ) -> Thought:
        """As ``Policy.think``; ``on_segment`` is called in this thread, in the answer's order."""
        ...


@runtime_checkable
class PreparingPolicy(Protocol):
    """A Policy that can get pictures ready while it still thinks about older ones."""

    def prepare(self, observation: Observation) -> None:
        """The next ``think`` may be about these pictures. Returns at once; any thread."""
        ...


def think_streaming(
    policy: Policy,
    observation: Observation,
    canceled: Callable[[], bool],
    on_segment: Callable[[Segment], None],
) -> Thought:
    """Think with any policy; one that does not stream is silent until its thought is whole."""
    if isinstance(policy, StreamingPolicy):
        return policy.think_streaming(observation, canceled, on_segment)
    return policy.think(observation, canceled)
