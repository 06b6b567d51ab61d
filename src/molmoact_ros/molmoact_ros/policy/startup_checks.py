"""Do this robot and this model fit? Answered in sentences, before anything moves.

Both sides describe themselves with the data below. The policy node compares them at the start,
the policy server and its client compare them again in their handshake.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

GRIPPER = "1open_0closed"
"""The convention of every ``Thought.actions``, in the words of reasoning/gripper.py."""
ACTION_NAMES = ("dx", "dy", "dz", "droll", "dpitch", "dyaw", "gripper")
ACTION_UNITS = ("m", "m", "m", "rad", "rad", "rad", "1 open, 0 closed")
PERIOD_S = 1.0 / 15.0
PERIOD_TOLERANCE = 0.02
"""Relative: 1/15 s written as 0.067 still fits."""
ASPECT_TOLERANCE = 0.02
MAX_IMAGE_SIDE = 2048
"""Pixels; larger pictures only cost time, the model shrinks them."""


@dataclass(frozen=True)
class RobotDescription:
    """What the robot offers and expects.

    cameras: names in the order the pictures are sent. image_sizes: (width, height) in pixels of
    each camera, or empty while unknown. dims: numbers in an action. unnorm_key: statistics of this
    robot, or "" to accept the model's. gripper: convention of reasoning/gripper.py.
    period: seconds a row is executed for. frame: axes of the deltas, "base" or "tool".
    steering: an operator may draw traces.
    """

    cameras: tuple[str, ...] = ("external", "wrist")
    image_sizes: tuple[tuple[int, int], ...] = ()
    dims: int = len(ACTION_NAMES)
    unnorm_key: str = ""
    gripper: str = GRIPPER
    period: float = PERIOD_S
    frame: str = "base"
    steering: bool = False


@dataclass(frozen=True)
class ModelDescription:
    """What the model is and how it speaks.

    revision: which files, e.g. a commit of the hub. origin: where the weights come from, in plain
    words. cameras: names in the order of its pictures. image_size: (width, height) to which every
    picture is brought, so that its aspect must be the camera's; or None. max_image_side: pixels.
    rows x dims: its chunk. action_names, action_units [dims]. gripper, period, frame: as in
    RobotDescription. steering: it understands drawn traces. codebook: of its depth codes, see
    ``model.depth_codec``; empty: nobody knows, or it writes none.
    """

    name: str
    revision: str
    origin: str
    unnorm_key: str
    cameras: tuple[str, ...] = ("external", "wrist")
    image_size: tuple[int, int] | None = None
    max_image_side: int = MAX_IMAGE_SIDE
    rows: int = 8
    dims: int = len(ACTION_NAMES)
    action_names: tuple[str, ...] = ACTION_NAMES
    action_units: tuple[str, ...] = ACTION_UNITS
    gripper: str = GRIPPER
    period: float = PERIOD_S
    frame: str = "base"
    steering: bool = True
    codebook: str = ""


def startup_refusals(robot: RobotDescription, model: ModelDescription) -> list[str]:
    """One sentence for each thing that does not fit, with its remedy; empty when all fits."""
    checks = (
        _cameras(robot, model),
        *(_image(robot, model, number) for number in range(len(robot.image_sizes))),
        _dims(robot, model),
        _statistics(robot, model),
        _gripper(robot, model),
        _period(robot, model),
        _frame(robot, model),
        _steering(robot, model),
    )
    return [sentence for sentence in checks if sentence]


def in_one_sentence(refusals: list[str]) -> str:
    """The first refusal, and how many more there are; empty when there is none."""
    if not refusals:
        return ""
    more = len(refusals) - 1
    return refusals[0] + (f" (and {more} more)" if more > 0 else "")


def _cameras(robot: RobotDescription, model: ModelDescription) -> str:
    if len(robot.cameras) != len(model.cameras):
        return (
            f"the robot has {len(robot.cameras)} camera(s) ({', '.join(robot.cameras)}) but the "
            f"model looks through {len(model.cameras)} ({', '.join(model.cameras)}): set images "
            "to the model's number or choose another checkpoint"
        )
    if robot.cameras != model.cameras:
        return (
            f"the robot's cameras are {', '.join(robot.cameras)} but the model was taught with "
            f"{', '.join(model.cameras)}, in this order: rename or reorder the robot's cameras"
        )
    return ""


def _image(robot: RobotDescription, model: ModelDescription, number: int) -> str:
    width, height = robot.image_sizes[number]
    names = robot.cameras
    name = names[number] if number < len(names) else f"camera {number + 1}"
    if min(width, height) < 1 or max(width, height) > model.max_image_side:
        return (
            f"the {name} camera's pictures are {width}x{height} but the model accepts 1 to "
            f"{model.max_image_side} pixels a side: choose another camera profile"
        )
    if model.image_size is not None and not same_aspect(model.image_size, (width, height)):
        wanted = "{}x{}".format(*model.image_size)
        return (
            f"the {name} camera's pictures are {width}x{height} but the model was taught with "
            f"{wanted}, so things would look squeezed: choose a camera mode of that aspect"
        )
    return ""


def same_aspect(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether pictures of both sizes (width, height) show things equally squeezed, to 2 %."""
    across = one[0] * other[1]
    return math.isclose(across, one[1] * other[0], rel_tol=ASPECT_TOLERANCE)


def _dims(robot: RobotDescription, model: ModelDescription) -> str:
    if robot.dims == model.dims:
        return ""
    return (
        f"the robot executes actions of {robot.dims} numbers but the model answers {model.dims} "
        f"({', '.join(model.action_names)}): choose a checkpoint taught for this robot"
    )


def _statistics(robot: RobotDescription, model: ModelDescription) -> str:
    if not robot.unnorm_key or robot.unnorm_key == model.unnorm_key:
        return ""
    return (
        f"the robot expects statistics {robot.unnorm_key!r} but the model scales its actions with "
        f"{model.unnorm_key!r}: give both the same unnorm_key"
    )


def _gripper(robot: RobotDescription, model: ModelDescription) -> str:
    if robot.gripper == model.gripper:
        return ""
    return (
        f"the robot's gripper convention is {robot.gripper!r} but the model's is "
        f"{model.gripper!r}, so the fingers would move wrongly: convert on the robot's side"
    )


def _period(robot: RobotDescription, model: ModelDescription) -> str:
    both = min(robot.period, model.period) > 0 and math.isfinite(robot.period + model.period)
    if both and math.isclose(robot.period, model.period, rel_tol=PERIOD_TOLERANCE):
        return ""
    return (
        f"the robot executes a row in {robot.period:.4g} s but the model was taught "
        f"{model.period:.4g} s: set period to {model.period:.4g}"
    )


def _frame(robot: RobotDescription, model: ModelDescription) -> str:
    if robot.frame == model.frame:
        return ""
    return (
        f"the robot applies deltas in the {robot.frame} frame but the model answers them in the "
        f"{model.frame} frame: choose a checkpoint with delta_frame {robot.frame}"
    )


def _steering(robot: RobotDescription, model: ModelDescription) -> str:
    if model.steering or not robot.steering:
        return ""
    return "the model cannot follow drawn traces: switch steering off or choose another checkpoint"
