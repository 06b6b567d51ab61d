"""Pictures out of films."""

from __future__ import annotations

from pathlib import Path

import av

from molmoact_ros.data.pictures import encode_jpeg
from molmoact_ros.data.recording import Picture
from molmoact_ros.data.rows import BadData


def decode_video(
    path: Path, first: float, count: int, fps: float, quality: int = 95
) -> tuple[Picture, ...]:
    """``count`` frames from ``first`` seconds on, as JPEGs. Raises BadData naming the file when it
    is missing, no film or too short.
    """
    found: list[Picture] = []
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise BadData(f"{path}: no film in it; download it again")
            stream = container.streams.video[0]
            if first > 0.0:
                container.seek(int(first / stream.time_base), stream=stream)
            for frame in container.decode(stream):
                if frame.time is not None and frame.time < first - 0.5 / fps:
                    continue
                rgb = frame.to_ndarray(format="rgb24")
                found.append(Picture("jpeg", encode_jpeg(rgb, quality)))
                if len(found) == count:
                    break
    except (OSError, av.FFmpegError) as error:
        raise BadData(f"{path}: {error}; download it again") from error
    if len(found) < count:
        raise BadData(f"{path}: {len(found)} of {count} frames from {first:.2f} s on; truncated")
    return tuple(found)
