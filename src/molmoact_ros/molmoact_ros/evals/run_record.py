"""A run of the robot as it was seen, and the film, contact sheet and files made from it.

Frames are kept as JPEG while the robot moves, because drawing 1280 x 720 pictures would take
time from the physics; ``write`` draws them afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from molmoact_ros.viz.contact_sheet import KeyMoment, contact_sheet, evenly
from molmoact_ros.viz.jpeg import encode_jpeg
from molmoact_ros.viz.panel import Moment, compose
from molmoact_ros.viz.trace_view import draw_overlay
from molmoact_ros.viz.video import VideoWriter

JPEG_QUALITY = 95
SHEET_TILES = 9
DEPTH_COLUMNS = 10
FINISH_FRAMES = 12


@dataclass(frozen=True)
class ThoughtRecord:
    """One thought as ``thoughts.jsonl`` holds it: grid units, metres, radians, seconds."""

    chunk_id: int
    stamp: float
    instruction: str
    model: str
    refused: bool
    refusal: str
    depth: tuple[int, ...]
    trace: tuple[tuple[float, ...], ...]
    actions: tuple[tuple[float, ...], ...]
    timings: Mapping[str, float]
    text: str
    codebook: str = ""


@dataclass(frozen=True)
class FrameRecord:
    """What was known when one external image arrived. Pictures are JPEG."""

    stamp: float
    external: bytes
    wrist: bytes | None
    thought: int
    status: str
    executed: NDArray[np.float32]
    row: int


@dataclass
class RunRecord:
    """Collected while running; ``frames`` refer to ``thoughts`` by index (-1: none yet)."""

    instruction: str
    thoughts: list[ThoughtRecord] = field(default_factory=list)
    frames: list[FrameRecord] = field(default_factory=list)

    def add_frame(
        self,
        stamp: float,
        external: NDArray[np.uint8],
        wrist: NDArray[np.uint8] | None,
        status: str,
        executed: NDArray[np.float32],
        row: int,
    ) -> None:
        self.frames.append(
            FrameRecord(
                stamp,
                encode_jpeg(external, JPEG_QUALITY),
                None if wrist is None else encode_jpeg(wrist, JPEG_QUALITY),
                len(self.thoughts) - 1,
                status,
                executed,
                row,
            )
        )


def write(
    record: RunRecord,
    folder: Path,
    result: Mapping[str, object],
    decode_depth: Callable[[NDArray[np.uint8], str], NDArray[np.float32] | None],
    progress: Callable[[int, int], None],
) -> list[Path]:
    """thoughts.jsonl, result.json, overlay.mp4, contact_sheet.png; returns what was written.

    ``decode_depth`` turns codes uint8 [10, 10] of a codebook into relative depth [H, W] 0..1, or
    None; ``progress(done, total)``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / "thoughts.jsonl", folder / "result.json"]
    with written[0].open("w", encoding="utf-8") as lines:
        for thought in record.thoughts:
            lines.write(json.dumps(asdict(thought), ensure_ascii=False) + "\n")
    written[1].write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if not record.frames:
        return written
    depths: dict[int, NDArray[np.float32] | None] = {-1: None}
    film = VideoWriter(folder / "overlay.mp4")
    picture: NDArray[np.uint8] | None = None
    for number, frame in enumerate(record.frames):
        if frame.thought not in depths:
            thought = record.thoughts[frame.thought]
            codes = np.array(thought.depth, np.uint8).reshape(-1, DEPTH_COLUMNS)
            depths[frame.thought] = decode_depth(codes, thought.codebook) if len(codes) else None
        picture = compose(_moment(record, frame, depths[frame.thought]))
        film.add(picture, frame.stamp)
        progress(number + 1, len(record.frames))
    for extra in range(FINISH_FRAMES):  # the last picture stays long enough to be read
        assert picture is not None
        film.add(picture, record.frames[-1].stamp + 0.1 * (extra + 1))
    path = film.close()
    if path is not None:
        written.append(path)
    sheet = folder / "contact_sheet.png"
    cv2.imwrite(str(sheet), _sheet(record, result)[..., ::-1])
    return [*written, sheet]


def _moment(record: RunRecord, frame: FrameRecord, depth: NDArray[np.float32] | None) -> Moment:
    thought = record.thoughts[frame.thought] if frame.thought >= 0 else None
    elapsed = frame.stamp - record.frames[0].stamp
    return Moment(
        external=_rgb(frame.external),
        wrist=None if frame.wrist is None else _rgb(frame.wrist),
        depth=depth,
        instruction=record.instruction,
        status=frame.status,
        thinker=thought.model if thought else "",
        corner=f"simulation · {elapsed:5.1f} s",
        thought=thought.chunk_id if thought else 0,
        trace=np.array(thought.trace) if thought and thought.trace else None,
        executed=frame.executed if len(frame.executed) else None,
        actions=np.array(thought.actions) if thought and thought.actions else None,
        row=frame.row,
        timings=thought.timings if thought else {},
    )


def _sheet(record: RunRecord, result: Mapping[str, object]) -> NDArray[np.uint8]:
    first = record.frames[0].stamp
    tiles = []
    for index in evenly(len(record.frames), SHEET_TILES):
        frame = record.frames[index]
        thought = record.thoughts[frame.thought] if frame.thought >= 0 else None
        trace = np.array(thought.trace) if thought and thought.trace else None
        image = cv2.resize(_rgb(frame.external), (640, 480), interpolation=cv2.INTER_CUBIC)
        picture = draw_overlay(image.astype(np.uint8), model=trace, executed=frame.executed)
        caption = f"{frame.stamp - first:.1f} s"
        if thought:
            caption += f" · thought {thought.chunk_id}"
        tiles.append(KeyMoment(picture, caption, frame.status))
    outcome = "success" if result.get("success") else str(result.get("message", "no success"))
    return contact_sheet(
        tiles,
        title=record.instruction,
        subtitle=f"{outcome} · {result.get('seconds', 0)} s · seed {result.get('seed')} · "
        f"cyan: the model's trace, white: executed\n{result.get('policy', '')}",
    )


def _rgb(jpeg: bytes) -> NDArray[np.uint8]:
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return np.ascontiguousarray(image[..., ::-1], dtype=np.uint8)
