"""Depth of a thought as a picture: with the VQ-VAE that its codes belong to, or not at all."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2, see ./run setup")

import rclpy
from molmoact_msgs.msg import DepthTokens, Reasoning
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import Image

from molmoact_ros.model.codebook import RELEASED, codebook_of
from molmoact_ros.nodes.depth_pictures import DepthPictures
from molmoact_ros.nodes.runtime import SENSOR_QOS, ManagedNode, SetupError


class Bare(ManagedNode):
    """A node that draws nothing else."""

    def setup(self) -> None: ...

    def start(self) -> None: ...

    def halt(self) -> None: ...


@pytest.fixture
def node() -> Iterator[Bare]:
    rclpy.init()
    bare = Bare("bare")
    try:
        yield bare
    finally:
        bare.destroy_node()
        rclpy.try_shutdown()


def thought(codebook: str) -> Reasoning:
    codes = np.arange(100, dtype=np.uint16).tolist()
    depth = DepthTokens(rows=10, cols=10, codebook_size=128, codes=codes, codebook=codebook)
    return Reasoning(depth=depth)


def test_foreign_codes_publish_nothing_and_say_why(node: Bare) -> None:
    seen: list[Image] = []
    node.create_subscription(Image, "bare/depth", seen.append, SENSOR_QOS)
    pictures = DepthPictures(node, "")
    for codebook in (RELEASED, "0123456789abcdef"):
        assert pictures.show(thought(codebook)) is None
        assert "depth weights" in pictures.problem
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    for _ in range(50):
        relative = pictures.show(thought(codebook_of()))
        assert relative is not None and relative.shape == (320, 320) and not pictures.problem
        executor.spin_once(timeout_sec=0.1)
        if seen:
            break
    executor.shutdown()
    assert seen and (seen[0].encoding, seen[0].width) == ("mono8", 320)
    assert np.asarray(seen[0].data).max() > 0, "the first picture is that of the known codes"


def test_a_thought_without_depth_is_no_problem(node: Bare) -> None:
    pictures = DepthPictures(node, "")
    assert pictures.show(Reasoning()) is None and pictures.problem == ""
    broken = thought("")
    broken.depth.codes = broken.depth.codes[:50]
    assert pictures.show(broken) is None and "50 codes" in pictures.problem


def test_weights_that_are_not_there_stop_the_start(node: Bare) -> None:
    with pytest.raises(SetupError, match="depth_weights"):
        DepthPictures(node, "/nowhere/vae-final.pt")
