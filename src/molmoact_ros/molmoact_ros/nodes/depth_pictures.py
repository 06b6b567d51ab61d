"""Publishes the depth that a thought means: relative, 1 = near, never in metres."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from molmoact_msgs.msg import Reasoning
from numpy.typing import NDArray
from sensor_msgs.msg import Image

from molmoact_ros.model.depth_codec import DepthCodec
from molmoact_ros.nodes import convert
from molmoact_ros.nodes.runtime import SENSOR_QOS, ManagedNode, SetupError
from molmoact_ros.viz.depth_view import colour_depth, depth_mono8


class DepthPictures:
    """``~/depth`` (mono8) and ``~/depth_color``, decoded with the VQ-VAE in ``weights``.

    weights: a file, or empty for this package's. Raises SetupError when it cannot be read.
    """

    def __init__(self, node: ManagedNode, weights: str) -> None:
        try:
            self._codec = DepthCodec.from_file(Path(weights).expanduser() if weights else None)
        except (OSError, ValueError) as error:
            raise SetupError(f"parameter depth_weights: {error}") from error
        self._node = node
        self._mono = node.create_publisher(Image, "~/depth", SENSOR_QOS)
        self._color = node.create_publisher(Image, "~/depth_color", SENSOR_QOS)
        self.problem = ""

    def show(self, message: Reasoning) -> NDArray[np.float32] | None:
        """Publish the depth of a thought; returns it, float32 [320, 320] in 0..1.

        None for a thought without depth, and where ``problem`` says why it cannot be drawn.
        """
        self.problem = ""
        try:
            codes = convert.codes_from(message.depth)
        except convert.BadMessage as bad:
            self._cannot(str(bad))
            return None
        if codes is None:
            return None
        if foreign := self._codec.foreign(message.depth.codebook):
            self._cannot(foreign)
            return None
        relative = self._codec.picture(codes)
        if relative is not None:
            mono = convert.image_message(depth_mono8(relative), "mono8", message.header)
            self._mono.publish(mono)
            picture = convert.image_message(colour_depth(relative), "rgb8", message.header)
            self._color.publish(picture)
        return relative

    def _cannot(self, reason: str) -> None:
        self.problem = reason
        self._node.get_logger().warning(reason, throttle_duration_sec=30.0)
