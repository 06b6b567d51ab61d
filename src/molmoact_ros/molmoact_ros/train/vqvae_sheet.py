"""The report of a depth VQ-VAE as one picture: what went in, what came out, which codes."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from molmoact_ros.train.vqvae_report import Example, Findings

TILE, GAP, MARGIN, CAPTION = 240, 8, 28, 30
GROUPS = 2
HEAD, CHART = 104, 210
_INK, _PALE, _PAPER = (34, 34, 34), (120, 120, 120), (255, 255, 255)


def write_report(folder: Path, found: Findings, weights: str) -> None:
    """``report.json`` (numbers, count of every code) and ``report.png`` in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    values = {"weights": weights, **asdict(found.numbers), "code_counts": found.counts.tolist()}
    text = json.dumps(values, indent=1) + "\n"
    (folder / "report.json").write_text(text, encoding="utf-8")
    draw_sheet(found, weights).save(folder / "report.png")


def draw_sheet(found: Findings, weights: str) -> Image.Image:
    """Numbers on top, examples as input, reconstruction and codes, below them the use of every
    code in the same colours.
    """
    group = 3 * TILE + 2 * GAP
    shown = [*((e, "") for e in found.examples), (found.worst, "worst frame: ")]
    rows = -(-len(shown) // GROUPS)
    width = 2 * MARGIN + GROUPS * group + (GROUPS - 1) * MARGIN
    height = HEAD + rows * (TILE + CAPTION + GAP) + CHART + MARGIN
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    _head(draw, found, weights)
    palette = _palette(found)
    for place, (example, words) in enumerate(shown):
        x = MARGIN + (place % GROUPS) * (group + MARGIN)
        y = HEAD + (place // GROUPS) * (TILE + CAPTION + GAP)
        if place < GROUPS:
            for i, name in enumerate(("input (near is bright)", "reconstruction", "codes")):
                _say(draw, (x + i * (TILE + GAP), y - 20), name, 14, _PALE)
        decoded = np.round(example.decoded * 255.0).astype(np.uint8)
        tiles = (_depth(example.wanted), _depth(decoded), _codes(example, palette))
        for i, tile in enumerate(tiles):
            sheet.paste(tile, (x + i * (TILE + GAP), y))
        told = f"{words}squared error {example.mse:.4f}, rank correlation {example.spearman:.3f}"
        _say(draw, (x, y + TILE + 5), told, 14, _INK)
    _chart(
        draw,
        found,
        palette,
        (MARGIN, height - CHART - MARGIN + 12, width - MARGIN, height - MARGIN),
    )
    return sheet


def _head(draw: ImageDraw.ImageDraw, found: Findings, weights: str) -> None:
    n = found.numbers
    _say(draw, (MARGIN, 16), f"Depth VQ-VAE {Path(weights).name} on {n.frames} maps", 22, _INK)
    told = (
        f"squared error {n.mse:.5f} (5 to 95 %: {n.mse_p5:.5f} to {n.mse_p95:.5f});  "
        f"rank correlation {n.spearman_median:.3f} ({n.spearman_p5:.3f} to {n.spearman_p95:.3f}), "
        f"of the average map alone {n.blind_spearman_median:.3f};  "
        f"{n.codes_used} of {len(found.counts)} codes used, perplexity {n.perplexity:.0f}"
    )
    _say(draw, (MARGIN, 48), told, 15, _INK)


def _depth(picture: NDArray[np.uint8]) -> Image.Image:
    small = cv2.resize(picture, (TILE, TILE), interpolation=cv2.INTER_AREA)
    return Image.fromarray(
        cv2.cvtColor(cv2.applyColorMap(small, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    )


def _palette(found: Findings) -> NDArray[np.uint8]:
    """RGB [K, 3]: codes from far (blue) to near (red) by the pixels they stand for."""
    order = np.argsort(
        np.where(np.isnan(found.brightness), np.inf, found.brightness), kind="stable"
    )
    used = max(int((found.counts > 0).sum()), 2)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    shade = np.clip(rank * 255 // (used - 1), 0, 255).astype(np.uint8)
    colours = cv2.applyColorMap(shade[:, None], cv2.COLORMAP_TURBO)[:, 0, ::-1]
    return np.where((found.counts > 0)[:, None], colours, 160).astype(np.uint8)


def _codes(example: Example, palette: NDArray[np.uint8]) -> Image.Image:
    rows, cols = example.codes.shape
    cell = TILE // cols
    image = Image.fromarray(palette[example.codes]).resize((TILE, TILE), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(image)
    for row in range(rows):
        for col in range(cols):
            code = int(example.codes[row, col])
            dark = float(palette[code] @ np.array([0.3, 0.59, 0.11])) < 110
            draw.text(
                ((col + 0.5) * cell, (row + 0.5) * cell), str(code), _PAPER if dark else (0, 0, 0),
                _font(10), anchor="mm",
            )  # fmt: skip
    return image


def _chart(
    draw: ImageDraw.ImageDraw,
    found: Findings,
    palette: NDArray[np.uint8],
    box: tuple[int, int, int, int],
) -> None:
    """Share of every code, from far to near; codes that are never used come last, grey."""
    left, top, right, bottom = box
    order = np.argsort(
        np.where(np.isnan(found.brightness), np.inf, found.brightness), kind="stable"
    )
    share = found.counts / max(int(found.counts.sum()), 1)
    floor, ceiling = bottom - 22, top + 26
    told = f"dashed: even use, {100 / len(order):.2f} %; most used: {100 * share.max():.1f} %"
    _say(draw, (left, top), f"use of the codes, from far to near ({told})", 15, _INK)
    step = (right - left) / len(order)
    tallest = max(float(share.max()), 2.0 / len(order))
    scale = (floor - ceiling) / tallest
    for place, code in enumerate(order):
        x = left + place * step
        draw.rectangle(
            (x, floor - float(share[code]) * scale, x + step - 2, floor),
            tuple(palette[code].tolist()),
        )
        if place % 4 == 0 or step > 24:
            draw.text((x + step / 2 - 1, floor + 10), str(int(code)), _PALE, _font(10), anchor="mm")
    even = floor - scale / len(order)
    for x in range(left, right, 12):
        draw.line((x, even, min(x + 6, right), even), _PALE)


def _say(
    draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, size: int, ink: tuple[int, int, int]
) -> None:
    draw.text(at, text, ink, _font(size))


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
