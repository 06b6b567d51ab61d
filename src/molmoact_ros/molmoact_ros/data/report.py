"""The gate's findings as one HTML page with pictures: what a person skims before training."""

from __future__ import annotations

import base64
import html
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.data.card import DataCard
from molmoact_ros.data.dataset import DataSet, Tick, read_quarantine
from molmoact_ros.data.finding import FAIL, OK, SKIP, WARN, Finding
from molmoact_ros.data.gate_labels import bin_counts
from molmoact_ros.data.pictures import encode_jpeg
from molmoact_ros.model.codebook import PACKAGE_WEIGHTS, codebook_of
from molmoact_ros.model.depth_codec import DepthCodec
from molmoact_ros.reasoning.overlay import draw_trace

_STYLE = """body{font:15px/1.45 system-ui,sans-serif;margin:2em auto;max-width:76em;padding:0 1.5em;
color:#222}h1{margin-bottom:.1em}h2{margin-top:1.8em;font-size:1.15em}p{color:#555;margin:.2em 0}
table{border-collapse:collapse}td{padding:.3em .9em .3em 0;text-align:left;vertical-align:top;
border-top:1px solid #e4e4e4}b.level{display:inline-block;width:3.4em;text-align:center;
border-radius:.3em;font-size:13px;color:#fff}.ok{background:#177a5b}.skip{background:#888}
.warn{background:#b06a00}.fail{background:#b00020}.verdict-fail{color:#b00020}
.grid{display:flex;flex-wrap:wrap;gap:1.4em 1.8em}figure{margin:0}
.seen{display:flex;gap:4px}.seen div{font-size:11px;color:#666}.seen img{height:135px;
display:block}figcaption{font-size:13px;width:0;min-width:100%}svg{background:#f3f4f6;display:block}"""
_ORDER = (FAIL, WARN, OK, SKIP)
_NAMES = ("x", "y", "z", "roll", "pitch", "yaw")


def write_report(
    path: Path,
    data: DataSet,
    findings: Sequence[Finding],
    pictures: int = 12,
    depth_weights: Path | None = None,
) -> None:
    """Write a page that needs nothing else. depth_weights: see ``codec_of``."""
    failed = any(f.level == FAIL for f in findings)
    warned = sum(f.level == WARN for f in findings)
    verdict = "do not train yet" if failed else "ready to train"
    if warned and not failed:
        verdict += f", {warned} warning{'s'[: warned > 1]}"
    rows = "".join(
        f"<tr><td><b class='level {f.level}'>{f.level}</b><td>{f.rule}<td>{html.escape(f.words)}"
        for f in sorted(findings, key=lambda f: _ORDER.index(f.level))
    )
    codec, note = codec_of(data.card, depth_weights)
    parts = [
        f"<!doctype html><meta charset=utf-8><title>{html.escape(data.card.name)}</title>",
        f"<style>{_STYLE}</style><h1{' class=verdict-fail' if failed else ''}>"
        f"{html.escape(data.folder.name)}: {verdict}</h1><p>{html.escape(_about(data))}",
        f"<h2>Findings</h2><table>{rows}</table>",
        f"<h2>What the model sees and is taught</h2><p>{html.escape(note)}<div class=grid>",
        *_figures(data, pictures, codec),
        "</div><h2>Bins of every dimension</h2><p>Red: the outermost bins, into which everything "
        "beyond the quantiles is clipped. Heights are roots of counts.<div class=grid>",
        *(_histogram(data, i, counts) for i, counts in enumerate(bin_counts(data))),
        "</div><h2>Instructions</h2>",
        _table([(task, str(count)) for task, count in _instructions(data).most_common()]),
    ]
    left_out = read_quarantine(data.folder)
    if left_out:
        parts += ["<h2>Could not be used</h2>", _table(list(left_out.items()))]
    path.write_text("\n".join(parts), encoding="utf-8")


def codec_of(card: DataCard, weights: Path | None) -> tuple[DepthCodec | None, str]:
    """The codec that the card's depth codes were made with, if it is at hand, and a sentence.

    weights: what ``label --depth-weights`` was given; None: the package's. Codes of another
    codebook would decode into a picture that means nothing.
    """
    if card.depth_source == "none":
        return None, "Without depth."
    path = weights or PACKAGE_WEIGHTS
    if codebook_of(path) == card.depth_codebook:
        return DepthCodec.from_file(path), "Depth is shown as its codes decode."
    return None, (
        f"Depth is not shown: its codes belong to codebook {card.depth_codebook or 'unknown'}, not "
        f"to {path.name}; give molmoact check the --depth-weights that label was given."
    )


def _about(data: DataSet) -> str:
    card, ticks = data.card, sum(len(rows) for rows in data.episodes)
    what = f"{len(data.episodes)} episodes, {ticks} ticks ({ticks / card.fps / 60:.1f} minutes)"
    if data.episodes[0].chunks is not None:
        what = f"{ticks} scattered states"
    return (
        f"{what} at {card.fps:g} Hz; cameras {', '.join(card.cameras)} at "
        f"{card.image_size[0]} x {card.image_size[1]}; chunks of {card.chunk}; deltas in the "
        f"{card.delta_frame} frame; statistics key {card.name}"
    )


def _instructions(data: DataSet) -> Counter[str]:
    found: Counter[str] = Counter()
    for rows in data.episodes:
        found.update(rows.instructions or [rows.info["instruction"]])
    return found


def _figures(data: DataSet, count: int, codec: DepthCodec | None) -> list[str]:
    numbers = np.linspace(0, len(data) - 1, min(count, len(data))).astype(int)
    return [_figure(data.tick(int(number)), data.card, codec) for number in numbers]


def _figure(tick: Tick, card: DataCard, codec: DepthCodec | None) -> str:
    shown = [*zip(card.cameras, tick.pictures, strict=True)]
    if tick.trace is not None:
        shown[0] = (f"{card.cameras[0]} with trace", draw_trace(tick.pictures[0], tick.trace))
    if tick.depth is not None and codec is not None:
        grey = (codec.decode(tick.depth.reshape(10, 10)) * 255).astype(np.uint8)
        shown.append(("depth", np.repeat(grey[..., None], 3, axis=2)))
    pictures = "".join(f"<div>{_image(rgb)}{html.escape(name)}</div>" for name, rgb in shown)
    return (
        f"<figure><div class=seen>{pictures}</div><figcaption>{html.escape(_taught(tick))}"
        "</figcaption></figure>"
    )


def _taught(tick: Tick) -> str:
    rows = len(tick.actions)
    if tick.actions.shape[1] != 7:
        return f"{tick.instruction}: {rows} rows of {tick.actions.shape[1]} numbers"
    x, y, z = 1000.0 * tick.actions[:, :3].sum(axis=0)
    grips = tick.bins[:, 6] > 191  # 0.5: the robot opens from there on
    grip = "opens or closes" if grips.any() != grips.all() else "open" if grips.all() else "closed"
    return f"{tick.instruction}: {x:+.0f} {y:+.0f} {z:+.0f} mm in {rows} rows, gripper {grip}"


def _image(rgb: NDArray[np.uint8]) -> str:
    data = base64.b64encode(encode_jpeg(rgb, 85)).decode()
    return f'<img src="data:image/jpeg;base64,{data}" alt="">'


def _histogram(data: DataSet, dimension: int, counts: NDArray[np.int64]) -> str:
    """One SVG of 256 bars; the two outermost are red."""
    heights = 60.0 * np.sqrt(counts / max(int(counts.max()), 1))
    bars = "".join(
        f"<rect x={i} width=1 y={60 - height:.1f} height={height:.1f}"
        f' fill="{"#b00020" if i in (0, 255) else "#2b5a8c"}"/>'
        for i, height in enumerate(heights)
        if height
    )
    words = f"{dimension} gripper, unscaled"
    if data.statistics.scaled[dimension]:
        low, high = data.statistics.q01[dimension], data.statistics.q99[dimension]
        name = _NAMES[dimension] if data.statistics.dims == 7 else ""
        edge = 100.0 * (counts[0] + counts[255]) / max(counts.sum(), 1)
        words = f"{dimension} {name} {low:.3g}..{high:.3g}, {edge:.1f} % outermost"
    return (
        f"<figure><svg width=256 height=60>{bars}</svg>"
        f"<figcaption>{html.escape(words)}</figcaption></figure>"
    )


def _table(rows: Sequence[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><td>{html.escape(a)}<td>{html.escape(b)}" for a, b in rows)
    return f"<table>{cells}</table>"
