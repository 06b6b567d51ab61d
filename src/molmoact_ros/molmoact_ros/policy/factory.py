"""Policies by name. Imports happen here, late, so that a robot PC loads only what it runs."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from molmoact_ros.policy.base import Policy, PolicyError
from molmoact_ros.policy.startup_checks import (
    RobotDescription,
    in_one_sentence,
    startup_refusals,
)

if TYPE_CHECKING:
    from molmoact_ros.policy.remote import RemotePolicy

KINDS = ("scripted", "molmoact", "remote")
RANDOM = "random"
PACKAGED = Path(__file__).resolve().parents[1] / "model" / "weights" / "micro"
"""Trained from nothing in this package's simulation; its README says how and how well it drives."""
START_WAIT_S = 3.0
"""How long a policy server may take to say that it does not fit; it may also start later."""


@dataclass(frozen=True)
class PolicySpec:
    """What a profile says about its policy.

    checkpoint: folder or owner/name@commit; empty: the small policy that comes with the package;
    "random": nano with random weights of ``seed``. images: pictures per prompt. device: "cpu",
    "cuda", or "" for cuda if there is one. server, token, timeout (seconds), jpeg: the policy
    server of kind remote, see ``policy.remote``. robot: what must fit before anything moves.
    full_every: full reasoning only every so many thoughts, see ``policy.rated``. continue_rows,
    quantize: see MolmoActPolicy.
    """

    kind: str = "scripted"
    checkpoint: str = ""
    unnorm_key: str = ""
    images: int = 2
    seed: int = 0
    device: str = "cpu"
    server: str = ""
    token: str = field(default="", repr=False)
    timeout: float = 10.0
    jpeg: bool | None = None
    robot: RobotDescription | None = None
    full_every: int = 1
    continue_rows: bool = False
    quantize: str = ""


def make_policy(spec: PolicySpec) -> Policy:
    """Build the policy. Raises PolicyError for an unknown kind, a model that does not fit the
    robot (one sentence), or what its loader raises.
    """
    policy = _policy(spec)
    if spec.full_every == 1:
        return policy
    if spec.kind == "scripted":
        raise PolicyError(
            f"full_every is {spec.full_every}: the scripted policy plans anew each time; use 1"
        )
    from molmoact_ros.engine.rate import RatePlan
    from molmoact_ros.policy.rated import RatedPolicy

    return RatedPolicy(policy, RatePlan(spec.full_every))


def _policy(spec: PolicySpec) -> Policy:
    if spec.kind == "scripted":
        from molmoact_ros.model.depth_codec import DepthCodec
        from molmoact_ros.policy.scripted.policy import ScriptedPolicy

        return ScriptedPolicy(DepthCodec.from_package())
    if spec.kind == "molmoact":
        return _model(spec)
    if spec.kind == "remote":
        return _remote(spec)
    raise PolicyError(f"unknown policy '{spec.kind}': choose one of {', '.join(KINDS)}")


def _model(spec: PolicySpec) -> Policy:
    from molmoact_ros.engine.quantize import quantization
    from molmoact_ros.model.hub import find_checkpoint
    from molmoact_ros.policy.describe import describe_checkpoint
    from molmoact_ros.policy.molmoact import MolmoActPolicy

    if spec.checkpoint == RANDOM:
        folder = _random_nano(spec.seed)
    else:
        folder = find_checkpoint(spec.checkpoint) if spec.checkpoint else PACKAGED
    key = spec.unnorm_key or None
    if spec.robot is not None:
        # Before minutes of loading: the description needs no weights.
        refusals = startup_refusals(spec.robot, describe_checkpoint(folder, key, spec.images))
        if refusals:
            raise PolicyError(in_one_sentence(refusals))
    return MolmoActPolicy(
        folder,
        key,
        spec.images,
        device=_device(spec.device),
        continue_rows=spec.continue_rows,
        quantize=quantization(spec.quantize),
    )


def _remote(spec: PolicySpec) -> RemotePolicy:
    from molmoact_ros.policy.remote import RemotePolicy

    policy = RemotePolicy(spec.server, spec.token, spec.robot, timeout=spec.timeout, jpeg=spec.jpeg)
    policy.wait_connected(START_WAIT_S)
    reason = policy.unfit
    if reason:
        policy.close()
        raise PolicyError(reason)
    return policy


def _device(asked: str) -> str:
    import torch

    return asked or ("cuda" if torch.cuda.is_available() else "cpu")


def _random_nano(seed: int) -> Path:
    from molmoact_ros.model.nano import save_random_nano

    folder = Path(tempfile.mkdtemp(prefix="molmoact_nano_"))
    save_random_nano(folder, seed)
    return folder
