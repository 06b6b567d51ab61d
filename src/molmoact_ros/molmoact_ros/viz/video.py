"""An MP4 of RGB frames that plays in every browser: H.264, yuv420p, index at the front."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from numpy.typing import NDArray

_TICKS = 90_000  # the usual 90 kHz video clock (ITU-T H.222.0)


class VideoError(RuntimeError):
    """The film could not be written; the message says what to do."""


class VideoWriter:
    """Frames in, one file out. Not thread-safe: one thread adds and closes.

    The file appears as ``<path>.part`` and takes its name on close, so that a crash
    never leaves half a film that looks whole.
    """

    def __init__(self, path: Path, *, fps: int = 15, crf: int = 21, preset: str = "veryfast"):
        """crf: 18 fine .. 28 coarse. ``fps`` is only a hint; stamps give the real times."""
        self._path = path
        self._part = path.with_name(path.name + ".part")
        self._fps = fps
        self._options = {"crf": str(crf), "preset": preset, "tune": "animation"}
        self._container: av.container.OutputContainer | None = None
        self._stream: av.VideoStream | None = None
        self._first = 0.0
        self._last_tick = -1
        self.frames = 0

    def add(self, rgb: NDArray[np.uint8], stamp: float) -> bool:
        """Append RGB [H, W, 3], even sides, at ``stamp`` seconds. False: not newer, left out.

        Raises ValueError on a changed or odd size, VideoError when the encoder is missing.
        """
        if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
            raise ValueError(f"frame is {rgb.dtype} {rgb.shape}, expected uint8 [H, W, 3] RGB")
        if not np.isfinite(stamp):
            raise ValueError(f"stamp is {stamp}, expected seconds; use the image's header stamp")
        container, stream = self._open(rgb.shape[1], rgb.shape[0], stamp)
        if (stream.width, stream.height) != (rgb.shape[1], rgb.shape[0]):
            raise ValueError(
                f"frame is {rgb.shape[1]}x{rgb.shape[0]}, the film {stream.width}x"
                f"{stream.height}; scale all frames to one size"
            )
        tick = round((stamp - self._first) * _TICKS)
        if tick <= self._last_tick:
            return False
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
        frame.pts, frame.time_base = tick, Fraction(1, _TICKS)
        for packet in stream.encode(frame):
            container.mux(packet)
        self._last_tick = tick
        self.frames += 1
        return True

    def close(self) -> Path | None:
        """Finish the file and return its path; None when no frame was added. Safe to repeat."""
        if self._container is None or self._stream is None:
            return None
        for packet in self._stream.encode(None):
            self._container.mux(packet)
        self._container.close()
        self._container = self._stream = None
        self._part.replace(self._path)
        return self._path

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _open(
        self, width: int, height: int, stamp: float
    ) -> tuple[av.container.OutputContainer, av.VideoStream]:
        if self._container is not None and self._stream is not None:
            return self._container, self._stream
        if width % 2 or height % 2:
            raise ValueError(f"frame is {width}x{height}, yuv420p needs even sides; pad or scale")
        if "libx264" not in av.codecs_available:
            raise VideoError(
                "this PyAV has no H.264 encoder (libx264); "
                "install the wheel from PyPI: pip install --force-reinstall av==18.1.0"
            )
        self._path.parent.mkdir(parents=True, exist_ok=True)
        container = av.open(str(self._part), "w", format="mp4", options={"movflags": "+faststart"})
        stream = container.add_stream("libx264", rate=self._fps, options=self._options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, _TICKS)
        # One core for the film: physics, cameras and policy need the others more.
        stream.codec_context.thread_count = 1
        self._container, self._stream, self._first = container, stream, stamp
        return container, stream
