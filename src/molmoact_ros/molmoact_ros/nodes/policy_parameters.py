"""The policy node's parameters, and what they mean for policy, observations and goals."""

from __future__ import annotations

import os

from molmoact_ros.nodes.runtime import ManagedNode, SetupError
from molmoact_ros.policy.factory import PolicySpec
from molmoact_ros.policy.goal import GoalSettings
from molmoact_ros.policy.startup_checks import RobotDescription

SLOTS = ("external", "wrist")
JPEG = {"auto": None, "on": True, "off": False}
TOKEN_VARIABLE = "MOLMOACT_TOKEN"


def declare_policy(node: ManagedNode, modes: list[str]) -> None:
    """Declare all of them; ``modes``: names for goals started without one."""
    declare = node.declare
    declare("policy", "scripted", "scripted (expert), molmoact (model) or remote (server)")
    declare("checkpoint", "", "folder or owner/name@commit; empty: the packaged one; random: tests")
    declare("unnorm_key", "", "statistics key; empty: the checkpoint's own")
    declare("seed", 0, "seed of the random weights", (0, 2**31 - 1))
    declare("device", "cpu", "where a model runs: cpu or cuda; empty: cuda if there is one")
    declare("full_every", 1, "full reasoning every so many thoughts; 1: always", (1, 64))
    declare("continue_rows", False, "begin a chunk with the rows driven while thinking")
    declare("quantize", "", "fp8, int8 or int4 weights through torchao, NOT exact; empty: off")
    declare("server", "ws://127.0.0.1:8770", "address of the policy server, for policy remote")
    declare("token", "", f"its secret; better in the variable {TOKEN_VARIABLE}")
    declare("timeout", 10.0, "seconds for one thought of the policy server", (0.1, 600.0))
    declare("jpeg", "auto", "pictures to the server as JPEG: auto (over networks), on or off")
    declare("mode", "auto", f"{', '.join(modes)}, for goals started without one")
    declare("instruction", "", "start with this instruction; empty: wait for a goal")
    declare("images", 2, "cameras the policy sees, external first", (1, 2))
    declare("period", 1.0 / 15.0, "seconds a row of a chunk", (0.01, 1.0))
    declare("rethink_after_rows", 4, "think again when this row is reached", (1, 64))
    declare("finish_after_rest", 3.0, "seconds without motion that end a goal", (0.0, 600.0))
    declare("max_image_age", 1.0, "seconds; an older image is refused", (0.05, 10.0))
    declare("sensor_timeout", 10.0, "seconds without images that end a goal", (0.5, 600.0))
    declare("base_frame", "fr3_link0", "frame of poses and chunks")


def slots(node: ManagedNode) -> tuple[str, ...]:
    """The cameras the policy sees, in its order."""
    return SLOTS[: int(node.value("images"))]


def robot_description(node: ManagedNode) -> RobotDescription:
    """What a model has to fit."""
    return RobotDescription(
        cameras=slots(node),
        unnorm_key=str(node.value("unnorm_key")),
        period=float(node.value("period")),
        steering=True,
    )


def policy_spec(node: ManagedNode, robot: RobotDescription) -> PolicySpec:
    """Raises SetupError for a value that means nothing."""
    if node.value("jpeg") not in JPEG:
        raise SetupError(f"jpeg '{node.value('jpeg')}': choose one of {', '.join(JPEG)}")
    return PolicySpec(
        kind=str(node.value("policy")),
        checkpoint=str(node.value("checkpoint")),
        unnorm_key=str(node.value("unnorm_key")),
        images=len(slots(node)),
        seed=int(node.value("seed")),
        device=str(node.value("device")),
        server=str(node.value("server")),
        token=str(node.value("token")) or os.environ.get(TOKEN_VARIABLE, ""),
        timeout=float(node.value("timeout")),
        jpeg=JPEG[str(node.value("jpeg"))],
        robot=robot,
        full_every=int(node.value("full_every")),
        continue_rows=bool(node.value("continue_rows")),
        quantize=str(node.value("quantize")),
    )


def goal_settings(node: ManagedNode) -> GoalSettings:
    """When a running goal thinks again and when it ends."""
    return GoalSettings(
        period=float(node.value("period")),
        rethink_after_rows=int(node.value("rethink_after_rows")),
        sensor_timeout=float(node.value("sensor_timeout")),
        finish_after_rest=float(node.value("finish_after_rest")),
    )
