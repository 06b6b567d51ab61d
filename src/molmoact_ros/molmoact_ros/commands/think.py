"""``molmoact think``: one thought about pictures from files, shown while it is decoded.

Writes overlay.png, depth.png and thought.json. Nothing moves; no ROS is needed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from molmoact_ros.policy.base import Observation, PolicyError
from molmoact_ros.reasoning.thought import ThoughtRefused
from molmoact_ros.viz.terminal import Terminal

if TYPE_CHECKING:
    from molmoact_ros.model.depth_codec import DepthCodec
    from molmoact_ros.policy.molmoact import MolmoActPolicy

EXIT_OK, EXIT_CANNOT, EXIT_REFUSED = 0, 2, 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``molmoact think``."""
    add = parser.add_argument
    add("--model", required=True, help="checkpoint folder, or owner/name@commit of the hub")
    add("--image", required=True, action="append", help="picture file; external first, then wrist")
    add("--instruction", required=True, help="what to do, e.g. 'pick up the red cube'")
    add("--trace", default="", help="'[[x, y], ...]' to follow, 0..255 across the first picture")
    add("--unnorm-key", default="", help="statistics key; default: the checkpoint's own")
    add("--out", required=True, type=Path, help="folder for overlay.png, depth.png, thought.json")
    add("--rows", type=int, help="actions in a chunk (1 for single-action checkpoints); default: 8")
    add("--device", default="", help="cpu or cuda; default: cuda if there is one")
    add("--adapter", default="", help="folder of a LoRA fine-tuning of this checkpoint")
    add("--depth-weights", default="", help="vae-final.pt; default: the weights of this package")
    add(
        "--full-size",
        action="store_true",
        help="do not shrink pictures to 336 pixels; larger ones are cut into tiles",
    )
    add(
        "--plain",
        action="store_true",
        help="decode without grammar, as the published program does, then judge the answer",
    )


def run(values: argparse.Namespace) -> int:
    """Think once; the exit status: 0, 2 for a set-up that cannot work, 3 for a refused answer."""
    terminal = Terminal()
    try:
        return think(values, terminal)
    except (PolicyError, ValueError, OSError) as error:
        sys.stderr.write(f"molmoact think: {error}\n")
        return EXIT_CANNOT


def think(values: argparse.Namespace, terminal: Terminal) -> int:
    """As ``run``. Raises PolicyError, ValueError or OSError saying what to change."""
    from molmoact_ros.commands.think_report import Report

    pictures = tuple(read_picture(Path(path)) for path in values.image)
    steering = read_trace(values.trace)
    values.out.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    policy, depth = _load(values, terminal, len(pictures))
    loaded = time.perf_counter() - began
    policy.reset(values.instruction)
    observation = Observation(time.time(), pictures, values.instruction, steering=steering)
    report = Report(terminal, policy, observation, depth)
    report.ask(values.image)
    table, status = report.table(values.image), EXIT_OK
    try:
        thought = policy.think_streaming(observation, lambda: False, report.show)
        report.finish(thought, {"load": loaded, **thought.timings})
        table |= report.thought_table(thought, loaded)
        for name, picture in report.pictures(thought).items():
            Image.fromarray(picture).save(values.out / name)
            terminal.line(f"wrote {values.out / name}")
    except ThoughtRefused as refusal:
        terminal.heading(f"REFUSED: {refusal.reason}")
        table |= {"refused": refusal.reason, "text": refusal.text}
        status = EXIT_REFUSED
    path = values.out / "thought.json"
    path.write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    terminal.line(f"wrote {path}")
    return status


def read_picture(path: Path) -> NDArray[np.uint8]:
    """RGB uint8 [H, W, 3] of a picture file, as it lies in the file: no EXIF rotation, like the
    published processor. Raises ValueError.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"), dtype=np.uint8)
    # Pillow reports damage in any of these ways.
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: no readable picture ({error}); give a PNG or JPEG") from None


def read_trace(text: str) -> NDArray[np.float32] | None:
    """The drawn path float32 [L, 2] on the 0..255 grid, or None for no text. Raises ValueError."""
    from molmoact_ros.reasoning.trace_text import trace_from_text

    if not text.strip():
        return None
    try:
        points = trace_from_text(text.strip())
    except ThoughtRefused:
        points = np.zeros((0, 2), np.float32)
    if len(points) < 2:
        raise ValueError(
            f"--trace {text!r}: give 2 to 5 points like '[[30, 200], [120, 90]]', whole numbers "
            "0..255 across the first picture (x right, y down)"
        )
    return points


def _load(
    values: argparse.Namespace, terminal: Terminal, images: int
) -> tuple[MolmoActPolicy, DepthCodec]:
    # Late: these take seconds, and --help needs none of them.
    import torch

    from molmoact_ros.model.depth_codec import DepthCodec
    from molmoact_ros.policy.molmoact import MolmoActPolicy
    from molmoact_ros.policy.view import LONGEST_SIDE

    weights = values.depth_weights
    depth = DepthCodec.from_file(Path(weights)) if weights else DepthCodec.from_package()
    policy = MolmoActPolicy(
        values.model,
        values.unnorm_key or None,
        images,
        values.rows,
        device=values.device or ("cuda" if torch.cuda.is_available() else "cpu"),
        decoding="plain" if values.plain else "constrained",
        longest_side=None if values.full_size else LONGEST_SIDE,
        adapter=values.adapter,
        progress=terminal.progress("loading"),
    )
    return policy, depth


def main(arguments: Sequence[str] | None = None) -> int:
    """For ``python -m molmoact_ros.commands.think``."""
    parser = argparse.ArgumentParser(prog="molmoact think")
    add_arguments(parser)
    return run(parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
