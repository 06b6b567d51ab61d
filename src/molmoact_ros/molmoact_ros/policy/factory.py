"""Policies by name. Imports happen here, late, so that a robot PC loads only what it runs."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from molmoact_ros.policy.base import Policy, PolicyError

KINDS = ("scripted", "molmoact")


@dataclass(frozen=True)
class PolicySpec:
    """What a profile says about its policy. ``seed`` is that of random weights."""

    kind: str = "scripted"
    checkpoint: str = ""
    unnorm_key: str = ""
    images: int = 2
    seed: int = 0


def make_policy(spec: PolicySpec) -> Policy:
    """Build the policy. Raises PolicyError for an unknown kind, or what its loader raises."""
    if spec.kind == "scripted":
        from molmoact_ros.model.depth_codec import DepthCodec
        from molmoact_ros.policy.scripted.policy import ScriptedPolicy

        return ScriptedPolicy(DepthCodec.from_package())
    if spec.kind == "molmoact":
        from molmoact_ros.policy.molmoact import MolmoActPolicy

        folder = Path(spec.checkpoint) if spec.checkpoint else _random_nano(spec.seed)
        return MolmoActPolicy(folder, unnorm_key=spec.unnorm_key or None, images=spec.images)
    raise PolicyError(f"unknown policy '{spec.kind}': choose one of {', '.join(KINDS)}")


def _random_nano(seed: int) -> Path:
    from molmoact_ros.model.nano import save_random_nano

    folder = Path(tempfile.mkdtemp(prefix="molmoact_nano_"))
    save_random_nano(folder, seed)
    return folder
