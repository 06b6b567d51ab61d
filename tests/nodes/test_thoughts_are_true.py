"""Thoughts of the running stack against the truth of the very image they were made from."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2, see ./run setup")
pytest.importorskip("franky_sim", reason="needs franky-sim, see requirements/sim.txt")

sys.path.insert(0, str(Path(__file__).parent))
from stack import stack

from molmoact_ros.model.depth_codec import DepthCodec
from molmoact_ros.nodes import convert
from molmoact_ros.nodes.loop_meter import LoopMeter, TrueThought
from molmoact_ros.train.vqvae_report import spearman

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
NODES = ("sim_arm", "sim_cameras", "franka", "commander", "policy")
WANTED = 50


@pytest.fixture(scope="module")
def thoughts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[TrueThought]]:
    with stack(tmp_path_factory.mktemp("truth"), NODES) as running:
        meter = LoopMeter(running.host)
        running.person._executor.add_node(meter)
        for words in ("put the red cube on the plate", "pick up the blue cube") * 6:
            running.person.instruct(words)
            if running.person.wait(lambda: len(meter.true_thoughts) >= WANTED, 20.0):
                break
        yield meter.true_thoughts
        running.person._executor.remove_node(meter)
        meter.destroy_node()


def test_traces_start_at_the_tool(thoughts: list[TrueThought]) -> None:
    """A trace that starts elsewhere means wrong extrinsics, a stale pose or a wrong grid."""
    assert len(thoughts) >= WANTED
    off = [float(np.linalg.norm(t.trace_start - t.tool_pixel)) for t in thoughts]
    assert max(off) <= 6.0, f"{max(off):.1f} px"


def test_depth_codes_show_the_rendered_depth(thoughts: list[TrueThought]) -> None:
    """Codes of another frame or codebook would still look like a room, but not like this one."""
    codec = DepthCodec.from_package()
    ranks = []
    for thought in thoughts:
        codes = convert.codes_from(thought.thought.depth)
        assert codes is not None
        ranks.append(spearman(codec.decode(codes), thought.depth))
    assert np.median(ranks) >= 0.9
