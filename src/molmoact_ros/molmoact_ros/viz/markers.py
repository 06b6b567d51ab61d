"""What the 3-D view shows, as plain data; the viewer node turns it into a MarkerArray.

Ids are stable per namespace, so a new thought replaces the old drawing instead of
piling up. Positions are metres in ``frame``; colours RGBA in 0..1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.viz.chunk_path import ChunkPath
from molmoact_ros.viz.colours import (
    CLAMPED,
    GRIPPER_CLOSED,
    GRIPPER_OPEN,
    MODEL,
    WORKSPACE,
    Colour,
)
from molmoact_ros.viz.lift3d import LiftedTrace

Rgba = tuple[float, float, float, float]
Floats = NDArray[np.float64]

BASE_FRAME = "fr3_link0"


@dataclass(frozen=True)
class LineStrip:
    """points [N, 3]; one colour a point; width in metres. Fewer than 2 points: delete it."""

    namespace: str
    id: int
    frame: str
    points: Floats
    colours: tuple[Rgba, ...]
    width: float


@dataclass(frozen=True)
class Spheres:
    """centres [N, 3]; one colour each; diameter in metres. No centre: delete it."""

    namespace: str
    id: int
    frame: str
    points: Floats
    colours: tuple[Rgba, ...]
    diameter: float


@dataclass(frozen=True)
class Box:
    """The twelve edges of an axis-aligned box as pairs of points [24, 3]; width in metres."""

    namespace: str
    id: int
    frame: str
    edges: Floats
    colour: Rgba
    width: float


@dataclass(frozen=True)
class Dashes:
    """Single pieces as pairs of points [2N, 3]; width in metres. No pair: delete it."""

    namespace: str
    id: int
    frame: str
    edges: Floats
    colour: Rgba
    width: float


@dataclass(frozen=True)
class Label:
    """Words that face the eye at ``position`` [3]; height of a letter in metres. "": delete it."""

    namespace: str
    id: int
    frame: str
    position: Floats
    text: str
    colour: Rgba
    height: float


Marker = LineStrip | Spheres | Box | Dashes | Label

DASH_M = 0.012
ESTIMATED = "estimated: no depth camera"


def trace_markers(
    lifted: LiftedTrace, colour: Colour, *, namespace: str = "trace", frame: str = BASE_FRAME
) -> tuple[LineStrip, Spheres]:
    """A lifted trace as a line and its points; points without sensor depth are half clear."""
    points = lifted.points[lifted.valid]
    colours = tuple(colour.rgba(1.0 if seen else 0.45) for seen in lifted.measured[lifted.valid])
    return (
        LineStrip(namespace, 0, frame, points, colours, 0.004),
        Spheres(namespace, 1, frame, points, colours, 0.014),
    )


def estimated_markers(
    lifted: LiftedTrace, colour: Colour, *, namespace: str = "trace", frame: str = BASE_FRAME
) -> tuple[Marker, ...]:
    """A trace whose depth is the model's own guess: dashed, half clear, and with words."""
    points = lifted.points[lifted.valid]
    clear = colour.rgba(0.45)
    words = ESTIMATED if len(points) else ""
    place = points[-1] + (0.0, 0.0, 0.03) if len(points) else np.zeros(3)
    return (
        LineStrip(namespace, 0, frame, np.zeros((0, 3)), (), 0.004),
        Spheres(namespace, 1, frame, points, (clear,) * len(points), 0.014),
        Dashes(namespace, 2, frame, dashed(points), clear, 0.004),
        Label(namespace, 3, frame, place, words, colour.rgba(), 0.022),
    )


def no_estimate(*, namespace: str = "trace", frame: str = BASE_FRAME) -> tuple[Marker, ...]:
    """Takes away what only ``estimated_markers`` draws, when the trace is measured again."""
    empty = np.zeros((0, 3))
    return (
        Dashes(namespace, 2, frame, empty, MODEL.rgba(), 0.004),
        Label(namespace, 3, frame, np.zeros(3), "", MODEL.rgba(), 0.022),
    )


def dashed(points: Floats, dash: float = DASH_M) -> Floats:
    """A line [N, 3] as dashes [2M, 3] with gaps as long as they are (metres)."""
    pieces = [np.zeros((0, 3))]
    for a, b in zip(points[:-1], points[1:], strict=True):
        count = max(1, round(float(np.linalg.norm(b - a)) / (2 * dash)))
        start = np.arange(count)[:, None] / count
        ends = np.stack([start, start + 0.5 / count], axis=1)
        pieces.append((a + ends * (b - a)).reshape(-1, 3))
    return np.concatenate(pieces)


def chunk_markers(
    path: ChunkPath, *, executed_rows: int = 0, frame: str = BASE_FRAME
) -> tuple[LineStrip, Spheres]:
    """A chunk as a worm: colour says the gripper, rows already executed fade."""
    count = len(path.gripper)
    colours = tuple(
        gripper_colour(path.gripper[row]).rgba(0.25 if row < executed_rows else 1.0)
        for row in range(count)
    )
    points = path.positions if count else np.zeros((0, 3))
    # The start has no row of its own; it takes the first row's colour so that the line is whole.
    line_colours = (colours[0], *colours) if count else ()
    return (
        LineStrip("chunk", 0, frame, points, line_colours, 0.006),
        Spheres("chunk", 1, frame, points[1:], colours, 0.010),
    )


def gripper_colour(opening: float) -> Colour:
    """Between closed (0) and open (1); numbers outside are clipped."""
    return GRIPPER_CLOSED.mixed(GRIPPER_OPEN, float(np.clip(opening, 0.0, 1.0)))


def workspace_box(
    low: Floats, high: Floats, *, clamped: bool = False, frame: str = BASE_FRAME
) -> Box:
    """The allowed box from ``low`` [3] to ``high`` [3], metres; red and thicker when it clamps.

    Raises ValueError when a side is not longer than zero.
    """
    low, high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    if low.shape != (3,) or high.shape != (3,) or not (high > low).all():
        raise ValueError(f"workspace from {low} to {high}; expected low < high on x, y and z")
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float)
    pairs = [
        (a, b)
        for a in range(8)
        for b in range(a + 1, 8)
        if int(np.abs(corners[a] - corners[b]).sum()) == 1
    ]
    edges = low + corners[np.array(pairs).reshape(-1)] * (high - low)
    colour = CLAMPED if clamped else WORKSPACE
    return Box(
        "workspace",
        0,
        frame,
        edges,
        colour.rgba(0.9 if clamped else 0.5),
        0.006 if clamped else 0.003,
    )
