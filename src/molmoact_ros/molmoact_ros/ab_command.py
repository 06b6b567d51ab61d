"""``molmoact ab``: two checkpoints think about the same recorded observations."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from molmoact_ros.bags.ab import Comparison, Opinion, compare, summarise
from molmoact_ros.bags.metadata import BadBag
from molmoact_ros.policy.base import PolicyError
from molmoact_ros.policy.factory import RANDOM, PolicySpec, make_policy

ROWS = (
    ("thoughts", "{:d}"),
    ("refused", "{:d}"),
    ("seconds_per_thought", "{:.3f}"),
    ("trace_error_grid", "{:.1f}"),
    ("position_error_m_per_row", "{:.4f}"),
    ("rotation_error_rad_per_row", "{:.4f}"),
    ("gripper_agreement", "{:.0%}"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bag", nargs="+", type=Path, required=True, help="recorded episodes")
    parser.add_argument(
        "--model",
        action="append",
        required=True,
        help="twice: a checkpoint folder, scripted, or random:SEED (tiny random weights)",
    )
    parser.add_argument("--unnorm-key", default="", help="statistics key of both checkpoints")
    parser.add_argument("--images", type=int, default=2, choices=(1, 2))
    parser.add_argument(
        "--every", type=float, default=0.0, help="seconds between observations; 0: as recorded"
    )
    parser.add_argument("--limit", type=int, default=0, help="observations a bag; 0: all")
    parser.add_argument("--depth-weights", type=Path, help="vae-final.pt for ab.mp4; default: ours")
    parser.add_argument("--out", type=Path, help="folder for ab.json and ab.mp4")


def run(values: argparse.Namespace) -> int:
    """Exit status: 0 compared, 2 not possible."""
    if len(values.model) != 2:
        sys.stderr.write(f"--model was given {len(values.model)} times; name two to compare\n")
        return 2
    try:
        first, second = (make_policy(_spec(text, values)) for text in values.model)
        found = compare(
            values.bag,
            (first, second),
            every=values.every,
            images=values.images,
            limit=values.limit,
        )
        names = values.model[0], values.model[1]
        result = _collect(found, names, values.out, values.depth_weights)
    except (BadBag, PolicyError, OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    _print(result)
    if values.out is not None:
        target = values.out / "ab.json"
        target.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        sys.stdout.write(f"{target} and {values.out / 'ab.mp4'} written\n")
    return 0


def _spec(text: str, values: argparse.Namespace) -> PolicySpec:
    if text == "scripted":
        return PolicySpec(images=values.images)
    kind, _, seed = text.partition(":")
    if kind == RANDOM:
        return PolicySpec("molmoact", RANDOM, images=values.images, seed=int(seed or 0))
    if not Path(text).is_dir():
        raise PolicyError(f"--model {text}: give a checkpoint folder, scripted or random:SEED")
    return PolicySpec("molmoact", text, values.unnorm_key, values.images)


def _collect(
    found: Iterator[Comparison], names: tuple[str, str], out: Path | None, weights: Path | None
) -> dict[str, Any]:
    """Numbers only: an hour of pictures would not fit into memory."""
    opinions: tuple[list[Opinion], list[Opinion]] = ([], [])
    depth: list[float] = []
    bags: set[str] = set()
    for comparison in found if out is None else _filmed(found, names, out, weights):
        bags.add(comparison.bag)
        depth += [comparison.depth] if math.isfinite(comparison.depth) else []
        for mine, opinion in zip(opinions, comparison.opinions, strict=True):
            mine.append(replace(opinion, thought=None) if not opinion.refusal else opinion)
    return {
        "models": [summarise(name, mine) for name, mine in zip(names, opinions, strict=True)],
        "depth_agreement": sum(depth) / len(depth) if depth else None,
        "bags": sorted(bags),
    }


def _filmed(
    found: Iterator[Comparison], names: tuple[str, str], out: Path, weights: Path | None
) -> Iterator[Comparison]:
    """The same comparisons, and ab.mp4 on the way."""
    from molmoact_ros.bags.ab_film import side_by_side
    from molmoact_ros.model.depth_codec import DepthCodec
    from molmoact_ros.viz.video import VideoWriter

    out.mkdir(parents=True, exist_ok=True)
    codec = DepthCodec.from_file(weights)
    with VideoWriter(out / "ab.mp4", fps=2) as film:
        for count, comparison in enumerate(found):
            # Half a second each: thoughts are for reading, not for watching in real time.
            film.add(side_by_side(comparison, names, codec), 0.5 * count)
            yield comparison


def _print(result: dict[str, Any]) -> None:
    a, b = result["models"]
    sys.stdout.write(f"{'':28} {a['model'][-24:]:>24} {b['model'][-24:]:>24}\n")
    for name, form in ROWS:
        cells = ["-" if m[name] is None else form.format(m[name]) for m in (a, b)]
        sys.stdout.write(f"{name.replace('_', ' '):28} {cells[0]:>24} {cells[1]:>24}\n")
    agreement = result["depth_agreement"]
    shown = "-" if agreement is None else f"{agreement:.0%}"
    sys.stdout.write(f"depth codes that agree between both: {shown}\n")
