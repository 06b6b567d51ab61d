"""A bag as a film: what the robot saw, what the policy thought about it, what the arm did."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.bags.decode import stamp_seconds
from molmoact_ros.bags.metadata import BadBag
from molmoact_ros.bags.observations import BagObservations
from molmoact_ros.bags.roles import codebook_named, codes_of, rows_of, trace_of
from molmoact_ros.model.depth_codec import DepthCodec
from molmoact_ros.viz.panel import Moment, compose
from molmoact_ros.viz.video import VideoWriter

PATH_S = 12.0
"""Seconds of executed path that stay visible."""


def make_film(
    source: BagObservations, out: Path, fps: float = 15.0, weights: Path | None = None
) -> int:
    """Write an MP4 with a frame for external pictures, at most ``fps`` a second; frames written.

    weights: of the depth codes' VQ-VAE; None: this package's. Codes of another one are not drawn.
    Raises BadBag when there is no picture, VideoError when the encoder is missing, OSError or
    ValueError for bad weights.
    """
    film = _Film(source, DepthCodec.from_file(weights))
    last = float("-inf")
    with VideoWriter(out, fps=round(fps)) as writer:
        for role, _, decoded in source.events():
            if role == "reasoning":
                film.think(decoded)
            elif role == "measured":
                film.move(decoded)
            elif role == "external":
                stamp = stamp_seconds(decoded)
                if stamp - last >= 1.0 / fps - 1e-3 and writer.add(film.frame(stamp), stamp):
                    last = stamp
        frames = writer.frames
    if not frames:
        raise BadBag(f"{source.reader.path}: no external picture to film")
    return frames


class _Film:
    def __init__(self, source: BagObservations, codec: DepthCodec) -> None:
        self._source, self._codec = source, codec
        custom = source.reader.custom
        self._moment = Moment(
            external=np.zeros((2, 2, 3), np.uint8),
            instruction=custom.get("task", ""),
            thinker=custom.get("model", ""),
            corner=source.reader.path.name,
        )
        self._path: deque[tuple[float, NDArray[np.float64]]] = deque()
        self._start = source.reader.start_ns * 1e-9

    def think(self, message: Any) -> None:
        depth = self._codec.picture(codes_of(message.depth), codebook_named(message.depth))
        trace = trace_of(message.trace)
        self._moment = replace(
            self._moment,
            depth=depth,
            trace=trace if len(trace) else None,
            actions=rows_of(message.actions),
            thought=int(message.chunk_id),
            instruction=message.instruction,
            thinker=message.model,
            status=f"refused: {message.refusal}" if message.refused else "",
            timings={item.stage: float(item.seconds) for item in message.timings},
        )

    def move(self, message: Any) -> None:
        stamp, p = stamp_seconds(message), message.pose.position
        if not self._path or stamp - self._path[-1][0] >= 0.1:
            self._path.append((stamp, np.array([p.x, p.y, p.z])))
        while self._path and self._path[0][0] < stamp - PATH_S:
            self._path.popleft()

    def frame(self, stamp: float) -> NDArray[np.uint8]:
        pictures = self._source.pictures
        external, wrist = pictures["external"], pictures.get("wrist")
        self._moment = replace(self._moment, external=external, wrist=wrist)
        camera = self._source.camera
        executed = None
        if camera is not None and self._path:
            pixels, depth = camera.project(np.stack([point for _, point in self._path]))
            executed = camera.grid_from_pixels(pixels[depth > 0.0])
        status = self._moment.status or f"{stamp - self._start:.1f} s"
        return compose(replace(self._moment, executed=executed, status=status))
