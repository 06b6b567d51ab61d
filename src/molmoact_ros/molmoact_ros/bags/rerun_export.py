"""A bag as a Rerun recording (.rrd): everything the robot saw, thought and did, on one timeline.

The time of an entry is its header's stamp: a thought appears at the picture it is about, not when
it was ready. Rerun is optional and imported only here and in ``rerun_layout``.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from molmoact_ros.bags.decode import stamp_seconds
from molmoact_ros.bags.executed import Executed
from molmoact_ros.bags.metadata import BadBag
from molmoact_ros.bags.observations import BagObservations
from molmoact_ros.bags.pictures import DEPTH_HEADER
from molmoact_ros.bags.rerun_layout import CAMERA, TIMELINE, blueprint
from molmoact_ros.bags.roles import (
    codebook_named,
    codes_of,
    colour_of,
    depth_of,
    pose_of,
    rows_of,
    trace_of,
)
from molmoact_ros.geometry import Camera, Floats, Pose
from molmoact_ros.model.depth_codec import DepthCodec
from molmoact_ros.viz.chunk_path import chunk_path
from molmoact_ros.viz.colours import EXECUTED, HUMAN, MODEL
from molmoact_ros.viz.depth_view import depth_mono8
from molmoact_ros.viz.jpeg import encode_jpeg
from molmoact_ros.viz.lift3d import PLANE_Z_M, lift_trace
from molmoact_ros.viz.markers import gripper_colour
from molmoact_ros.viz.trace_view import grid_to_pixels

IMAGE = f"{CAMERA}/image"
PATH_S = 12.0
"""Seconds of executed path that stay visible, as in the film."""
HUMAN_SOURCE = 1
"""VisualTrace.SOURCE_HUMAN."""
QUALITY = 85


def rerun_module() -> ModuleType:
    """The rerun package. Raises BadBag with the remedy when it is not installed."""
    try:
        import rerun
    except ModuleNotFoundError as error:
        raise BadBag(
            "Rerun is not installed; run: pip install rerun-sdk==0.41.0 (needs numpy 2)"
        ) from error
    return rerun


def export_rerun(
    source: BagObservations, out: Path, fps: float = 15.0, weights: Path | None = None
) -> dict[str, int]:
    """Write ``out`` (.rrd); entity path -> number of entries.

    fps: most pictures a second of each camera. weights: of the depth codes' VQ-VAE, None: this
    package's. Raises BadBag when Rerun is missing or the bag has no external picture, OSError when
    ``out`` cannot be written, OSError or ValueError for bad weights.
    """
    rr = rerun_module()
    out.parent.mkdir(parents=True, exist_ok=True)
    export = _Export(rr, source, out, fps, DepthCodec.from_file(weights))
    for role, _, decoded in source.events():
        export.add(role, decoded)
    export.finish()
    if not export.counts.get(IMAGE):
        raise BadBag(f"{source.reader.path}: no external picture to show")
    return export.counts


class _Export:
    def __init__(
        self, rr: Any, source: BagObservations, out: Path, fps: float, codec: DepthCodec
    ) -> None:
        self._rr, self._source, self._fps = rr, source, fps
        self._codec = codec
        self._executed = Executed(source.reader, source.roles)
        self._stream = rr.RecordingStream("molmoact", recording_id=source.reader.path.name)
        self._stream.save(str(out), default_blueprint=blueprint())
        self.counts: dict[str, int] = {}
        self._pictured: dict[str, float] = {}
        self._depth: Any = None
        self._camera: Camera | None = None
        self._path: deque[tuple[float, Floats]] = deque()
        self._said: dict[str, str] = {}
        self._stream.log("world", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
        self._static_colours()

    def add(self, role: str, message: Any) -> None:
        """One decoded message of a role of BagObservations."""
        if role in ("external", "wrist"):
            self._picture(role, message)
        elif role == "depth":
            self._sensor_depth(message)
        elif role == "measured":
            self._tool(stamp_seconds(message), pose_of(message.pose))
        elif role == "commanded":
            self._pose("world/target", stamp_seconds(message), pose_of(message.pose))
        elif role == "gripper" and len(message.position) >= 2:
            width = float(message.position[0] + message.position[1])
            self._log("gripper/width", stamp_seconds(message), self._rr.Scalars(width))
        elif role == "reasoning":
            self._thought(message)
        elif role in ("camera_info", "transforms"):
            self._calibrate()

    def finish(self) -> None:
        """Gripper commands have no stamp of their own; they stand at their arrival."""
        grips = self._executed.grips
        for stamp, value in zip(grips.times, grips.values, strict=True):
            self._log("gripper/command", float(stamp), self._rr.Scalars(float(value[0])))
        self._stream.flush()
        self._stream.disconnect()

    def _log(self, entity: str, stamp: float, *what: Any) -> None:
        self._stream.set_time(TIMELINE, timestamp=stamp)
        self._stream.log(entity, *what)
        self.counts[entity] = self.counts.get(entity, 0) + 1

    def _static_colours(self) -> None:
        for entity, name in (
            ("gripper/width", "width, m"),
            ("gripper/command", "1 open, 0 closed"),
        ):
            self._stream.log(entity, self._rr.SeriesLines(names=name), static=True)

    def _due(self, role: str, stamp: float) -> bool:
        if stamp - self._pictured.get(role, float("-inf")) < 1.0 / self._fps - 1e-3:
            return False
        self._pictured[role] = stamp
        return True

    def _picture(self, role: str, message: Any) -> None:
        stamp = stamp_seconds(message)
        if not self._due(role, stamp):
            return
        stored = hasattr(message, "format") and "jpeg" in message.format
        data = bytes(message.data) if stored else encode_jpeg(colour_of(message), QUALITY)
        entity = IMAGE if role == "external" else "wrist/image"
        self._log(entity, stamp, self._rr.EncodedImage(contents=data, media_type="image/jpeg"))

    def _sensor_depth(self, message: Any) -> None:
        stamp = stamp_seconds(message)
        if not self._due("depth", stamp):
            return
        self._depth = message
        if hasattr(message, "format"):
            png = bytes(message.data)[len(DEPTH_HEADER) :]
            shown = self._rr.EncodedDepthImage(png, media_type="image/png", meter=1000.0)
        else:
            shown = self._rr.DepthImage(depth_of(message), meter=1.0)
        self._log("world/camera/depth", stamp, shown)

    def _calibrate(self) -> None:
        camera = self._source.camera
        if camera is None or camera is self._camera:
            return
        rr, self._camera = self._rr, camera
        pose = camera.base_from_optical
        self._stream.log(
            CAMERA, rr.Transform3D(translation=pose[:3, 3], mat3x3=pose[:3, :3]), static=True
        )
        pinhole = rr.Pinhole(
            focal_length=[camera.fx, camera.fy],
            principal_point=[camera.cx, camera.cy],
            width=camera.width,
            height=camera.height,
            image_plane_distance=0.2,
        )
        self._stream.log(CAMERA, pinhole, static=True)

    def _pose(self, entity: str, stamp: float, pose: Pose) -> None:
        rr = self._rr
        turned = rr.Quaternion(xyzw=pose.quaternion)
        self._log(entity, stamp, rr.Transform3D(translation=pose.position, quaternion=turned))

    def _tool(self, stamp: float, pose: Pose) -> None:
        self._pose("world/tool", stamp, pose)
        if self._path and stamp - self._path[-1][0] < 0.1:
            return
        self._path.append((stamp, pose.position))
        while self._path[0][0] < stamp - PATH_S:
            self._path.popleft()
        points = np.stack([point for _, point in self._path])
        white = [EXECUTED]
        strip = self._rr.LineStrips3D([points], colors=white, radii=0.002)
        self._log("world/executed", stamp, strip)
        if self._camera is not None:
            pixels, depth = self._camera.project(points)
            line = self._rr.LineStrips2D([pixels[depth > 0.0]], colors=white, radii=1.0)
            self._log(f"{IMAGE}/executed", stamp, line)

    def _thought(self, message: Any) -> None:
        rr, stamp = self._rr, stamp_seconds(message)
        trace = trace_of(message.trace)
        depth = self._codec.picture(codes_of(message.depth), codebook_named(message.depth))
        if depth is not None:
            self._log("model/depth", stamp, rr.Image(depth_mono8(depth)))
        colour = [HUMAN if message.trace.source == HUMAN_SOURCE else MODEL]
        if self._camera is not None:
            size = self._camera.width, self._camera.height
            pixels = grid_to_pixels(trace, *size)
            line = rr.LineStrips2D([pixels] if len(pixels) > 1 else [], colors=colour, radii=1.5)
            self._log(f"{IMAGE}/trace", stamp, line)
            depth = None if self._depth is None else depth_of(self._depth)
            if depth is not None and depth.shape != size[::-1]:
                depth = None
            lifted = lift_trace(trace, self._camera, depth, plane_z=PLANE_Z_M)
            points = lifted.points[lifted.valid]
            strips = [points] if len(points) > 1 else []
            self._log("world/trace", stamp, rr.LineStrips3D(strips, colors=colour, radii=0.003))
        self._chunk(stamp, rows_of(message.actions))
        self._say("instruction", stamp, message.instruction)
        outcome = f"refused: {message.refusal}" if message.refused else "accepted"
        took = sum(float(item.seconds) for item in message.timings)
        head = f"thought {message.chunk_id} of {message.model}: {outcome}, {took:.2f} s"
        self._say("thought/text", stamp, f"{head}\n\n{message.text}")
        level = "WARN" if message.refused else "INFO"
        self._log("log", stamp, rr.TextLog(head, level=level))
        self._log("thought/seconds", stamp, rr.Scalars(took))

    def _chunk(self, stamp: float, rows: Floats) -> None:
        start = self._executed.pose(stamp)
        if start is None or rows.shape[1] != 7:
            return
        points = chunk_path(start, rows).positions
        pieces = np.stack([points[:-1], points[1:]], axis=1)
        colours = [gripper_colour(float(row[6])) for row in rows]
        drawn = self._rr.LineStrips3D(list(pieces), colors=colours, radii=0.004)
        self._log("world/chunk", stamp, drawn)

    def _say(self, entity: str, stamp: float, words: str) -> None:
        if self._said.get(entity) != words:
            self._said[entity] = words
            self._log(entity, stamp, self._rr.TextDocument(words))
