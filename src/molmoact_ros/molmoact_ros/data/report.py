"""The gate's findings as one HTML page with pictures: what a person skims before training."""

from __future__ import annotations

import base64
import html
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.data.dataset import DataSet
from molmoact_ros.data.gate import FAIL, OK, Finding, bin_counts
from molmoact_ros.data.pictures import encode_jpeg
from molmoact_ros.model.depth_codec import DepthCodec
from molmoact_ros.reasoning.overlay import draw_trace

_STYLE = """body{font:15px system-ui;margin:2em;max-width:70em}
td,th{padding:.2em .8em;text-align:left}.ok{color:#176}.warn{color:#a60}
.fail{color:#b00;font-weight:bold}figure{display:inline-block;margin:.4em}
figcaption{font-size:12px;max-width:20em}svg{background:#f4f4f4}"""


def write_report(
    path: Path, data: DataSet, findings: Sequence[Finding], pictures: int = 12
) -> None:
    """Write a page that needs nothing else."""
    worst = FAIL if any(f.level == FAIL for f in findings) else OK
    verdict = "do not train yet" if worst == FAIL else "ready to train"
    rows = "".join(
        f"<tr><td class={f.level}>{f.level}<td>{f.rule}<td>{html.escape(f.words)}</tr>"
        for f in findings
    )
    tasks = Counter(entry["instruction"] for entry in data.listed)
    listed = "".join(
        f"<tr><td>{html.escape(task)}</td><td>{count}</td></tr>"
        for task, count in tasks.most_common()
    )
    parts = [
        f"<!doctype html><meta charset=utf-8><title>{html.escape(data.card.name)}</title>",
        f"<style>{_STYLE}</style><h1>{html.escape(data.folder.name)}: {verdict}</h1>",
        f"<table>{rows}</table><h2>What the model sees and is taught</h2>",
        *_figures(data, pictures),
        "<h2>Bins of every dimension</h2>",
        *(_histogram(i, counts) for i, counts in enumerate(bin_counts(data))),
        f"<h2>Instructions</h2><table>{listed}</table>",
    ]
    path.write_text("\n".join(parts), encoding="utf-8")


def _figures(data: DataSet, count: int) -> list[str]:
    codec = DepthCodec.from_package()
    figures = []
    for number in np.linspace(0, len(data) - 1, min(count, len(data))).astype(int):
        tick = data.tick(int(number))
        shown = [tick.pictures[0]]
        if tick.trace is not None:
            shown = [draw_trace(tick.pictures[0], tick.trace)]
        shown += list(tick.pictures[1:])
        if tick.depth is not None:
            grey = codec.decode(tick.depth.reshape(10, 10))
            shown.append(np.repeat((grey * 255).astype(np.uint8)[..., None], 3, axis=2))
        move = 1000.0 * tick.actions[:, :3].sum(axis=0)
        words = f"{tick.instruction}: {move[0]:.0f} {move[1]:.0f} {move[2]:.0f} mm"
        figures.append(
            f"<figure>{''.join(_image(p) for p in shown)}<figcaption>{html.escape(words)}"
            "</figcaption></figure>"
        )
    return figures


def _image(rgb: NDArray[np.uint8]) -> str:
    data = base64.b64encode(encode_jpeg(rgb, 85)).decode()
    return f'<img height=150 src="data:image/jpeg;base64,{data}" alt="">'


def _histogram(dimension: int, counts: NDArray[np.int64]) -> str:
    """One SVG of 256 bars; the two outermost are red."""
    tallest = max(int(counts.max()), 1)
    bars = "".join(
        f"<rect x={i} width=1 y={60 - 60 * int(c) / tallest:.1f} height={60 * int(c) / tallest:.1f}"
        f' fill="{"#b00" if i in (0, 255) else "#357"}"/>'
        for i, c in enumerate(counts)
        if c
    )
    return (
        f"<figure><svg width=256 height=60>{bars}</svg>"
        f"<figcaption>dimension {dimension}</figcaption></figure>"
    )
