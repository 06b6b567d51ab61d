"""What ``molmoact think`` shows and writes about one thought."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.model.depth_codec import DepthCodec
from molmoact_ros.policy.base import Observation, Segment
from molmoact_ros.policy.molmoact import MolmoActPolicy
from molmoact_ros.policy.startup_checks import ACTION_NAMES, ACTION_UNITS
from molmoact_ros.reasoning.overlay import draw_trace as draw_steering
from molmoact_ros.reasoning.thought import Thought
from molmoact_ros.viz.action_bars import COLUMNS, row_in_words
from molmoact_ros.viz.colours import GRIPPER_CLOSED, GRIPPER_OPEN, Colour
from molmoact_ros.viz.depth_view import colour_depth, colour_mono8, depth_mono8
from molmoact_ros.viz.terminal import Terminal, columns
from molmoact_ros.viz.trace_view import MODEL_STYLE, draw_trace, grid_to_pixels

_WIDTHS = (3, *(9,) * len(COLUMNS), 7)
_DECODED = ("depth", "trace", "actions")


class Report:
    """Shows a thought part by part and collects what the JSON file says."""

    def __init__(
        self,
        terminal: Terminal,
        policy: MolmoActPolicy,
        observation: Observation,
        depth: DepthCodec,
    ) -> None:
        self._terminal, self._policy = terminal, policy
        self._seen, self._depth = observation, depth
        self._rows = 0

    def ask(self, names: Sequence[str]) -> None:
        """Who thinks, about what."""
        self._terminal.line(self._policy.description)
        for name, picture in zip(names, self._seen.images, strict=True):
            self._terminal.line(f"picture {name}, {picture.shape[1]}x{picture.shape[0]}")
        self._terminal.line(f"asked: {self._policy.asked(self._seen)}")

    def show(self, segment: Segment) -> None:
        """A part, as soon as it is decoded."""
        if segment.kind == "depth":
            self._show_depth(segment.values)
        elif segment.kind == "trace":
            self._show_trace(segment.values)
        else:
            self._show_row(segment.values)

    def finish(self, thought: Thought, seconds: Mapping[str, float]) -> None:
        """Sum of the chunk, and where the time went."""
        if thought.actions.shape[1] == len(ACTION_NAMES):
            moved = [f"{x * c.factor:+.1f}" for x, c in zip(thought.actions.sum(0), COLUMNS)]  # noqa: B905
            self._terminal.line(columns(("sum", *moved, ""), _WIDTHS))
        self._terminal.heading("Timings")
        counts = self._counts()
        for name, value in seconds.items():
            words = f"{name:>9}  {value:7.3f} s"
            if counts.get(name):
                words += f"  {counts[name]:4d} tokens, {1000 * value / counts[name]:.1f} ms each"
            self._terminal.line(words)
        self._terminal.line()

    def pictures(self, thought: Thought) -> dict[str, NDArray[np.uint8]]:
        """File name to RGB picture: the trace on the first picture, and the depth if there is."""
        first = self._seen.images[0]
        if self._seen.steering is not None:
            # The line is a part of the question, drawn as the model gets it.
            return {"overlay.png": draw_steering(first, self._seen.steering)}
        pictures = {"overlay.png": draw_trace(first, thought.trace, MODEL_STYLE)}
        depth = self._depth.picture(thought.depth, self._policy.codebook)
        if depth is not None:
            pictures["depth.png"] = colour_depth(depth, (first.shape[1], first.shape[0]))
        return pictures

    def table(self, names: Sequence[str]) -> dict[str, Any]:
        """What was asked of whom, for the JSON file."""
        steering = self._seen.steering
        return {
            "model": self._policy.description,
            "instruction": self._seen.instruction,
            "question": self._policy.asked(self._seen),
            "images": [
                {"file": str(name), "width": picture.shape[1], "height": picture.shape[0]}
                for name, picture in zip(names, self._seen.images, strict=True)
            ],
            "steering": None if steering is None else steering.tolist(),
        }

    def thought_table(self, thought: Thought, loaded: float) -> dict[str, Any]:
        """The thought, for the JSON file."""
        dims = thought.actions.shape[1]
        arm = dims == len(ACTION_NAMES)
        height, width = self._seen.images[0].shape[:2]
        return {
            "depth_codes": None if thought.depth is None else thought.depth.tolist(),
            "trace": thought.trace.tolist(),
            "trace_pixels": grid_to_pixels(thought.trace, width, height).round(1).tolist(),
            "action_names": list(ACTION_NAMES) if arm else [f"action {i + 1}" for i in range(dims)],
            "action_units": list(ACTION_UNITS) if arm else [""] * dims,
            "actions": thought.actions.tolist(),
            "seconds": {"load": loaded, **thought.timings},
            "tokens": self._counts(),
            "text": thought.text,
        }

    def _counts(self) -> dict[str, int]:
        answer = self._policy.last_answer
        if answer is None:
            return {}
        return {name: n for name, n in answer.counts.items() if name in _DECODED}

    def _show_depth(self, codes: NDArray[Any]) -> None:
        rows, wide = codes.shape
        self._terminal.heading(f"Depth codes ({rows} x {wide} of 128, first picture)")
        shades = None
        picture = self._depth.picture(codes.astype(np.uint8), self._policy.codebook)
        if picture is not None:
            cells = picture.reshape(10, picture.shape[0] // 10, 10, -1).mean(axis=(1, 3))
            shades = colour_mono8(depth_mono8(cells))
        for i, line in enumerate(codes.tolist()):
            words = [f"{code:4d} " for code in line]
            if shades is not None:
                words = [
                    self._terminal.tinted(word, Colour(*shades[i, j].tolist()))
                    for j, word in enumerate(words)
                ]
            self._terminal.line("  " + "".join(words))

    def _show_trace(self, trace: NDArray[Any]) -> None:
        height, width = self._seen.images[0].shape[:2]
        self._terminal.heading("Trace of the gripper (0..255 grid, pixels of the first picture)")
        for number, (point, pixel) in enumerate(
            zip(trace, grid_to_pixels(trace, width, height), strict=True), 1
        ):
            self._terminal.line(
                f"  {number}  [{point[0]:3.0f}, {point[1]:3.0f}]   {pixel[0]:6.1f}, {pixel[1]:6.1f}"
            )

    def _show_row(self, row: NDArray[Any]) -> None:
        if not self._rows:
            self._terminal.heading("Actions (steps of the tool in the base frame)")
            if len(row) == len(ACTION_NAMES):
                names = [f"{c.name} {c.unit}" for c in COLUMNS]
                self._terminal.line(columns(("row", *names, "gripper"), _WIDTHS))
        self._rows += 1
        if len(row) != len(ACTION_NAMES):
            plain = "  ".join(f"{value:+.4f}" for value in row)
            self._terminal.line(f"{self._rows:3d}  {plain}")
            return
        words = row_in_words(row)
        numbers = [word.split()[0] for word in words[:-1]]
        colour = GRIPPER_OPEN if words[-1] == "open" else GRIPPER_CLOSED
        gripper = self._terminal.tinted(words[-1].rjust(7), colour)
        self._terminal.line(columns((f"{self._rows}", *numbers, gripper), _WIDTHS))
