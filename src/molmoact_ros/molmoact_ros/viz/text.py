"""Words on pictures, with the one font that Pillow always carries (Aileron)."""

from __future__ import annotations

from functools import lru_cache

from PIL import ImageDraw, ImageFont

from molmoact_ros.viz.colours import TEXT, Colour

# Aileron has no glyph for these and would draw an empty box.
_REPLACED = str.maketrans({"→": ">", "—": "-", "×": "x", "−": "-", "…": "...", "≤": "<="})


@lru_cache(maxsize=32)
def font(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's own scalable font. Raises RuntimeError when Pillow lacks FreeType."""
    found = ImageFont.load_default(size)
    if not isinstance(found, ImageFont.FreeTypeFont):
        raise RuntimeError(
            "Pillow was built without FreeType, so text cannot be scaled; "
            "install the wheel from PyPI: pip install --force-reinstall pillow"
        )
    return found


def printable(text: str) -> str:
    """One line of text with only characters that the font can draw."""
    kept = " ".join(text.split()).translate(_REPLACED)
    return "".join(c if c.isprintable() and ord(c) < 0x250 or c in "“”‘’–·" else "?" for c in kept)


def width(text: str, size: int) -> float:
    """Length in pixels of ``text`` at ``size``."""
    return font(size).getlength(printable(text))


def fitted(text: str, size: int, limit: float) -> str:
    """``text``, cut with three dots so that it is at most ``limit`` pixels long."""
    text = printable(text)
    if width(text, size) <= limit:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if width(text[:middle].rstrip() + "...", size) <= limit:
            low = middle
        else:
            high = middle - 1
    return text[:low].rstrip() + "..."


def wrapped(text: str, size: int, limit: float, lines: int) -> list[str]:
    """``text`` broken at spaces into at most ``lines`` lines; the last one may end in dots."""
    out: list[str] = []
    words = printable(text).split()
    while words and len(out) < lines - 1:
        count = 1
        while count < len(words) and width(" ".join(words[: count + 1]), size) <= limit:
            count += 1
        out.append(fitted(" ".join(words[:count]), size, limit))
        words = words[count:]
    if words:
        out.append(fitted(" ".join(words), size, limit))
    return out


def write(
    draw: ImageDraw.ImageDraw,
    xy: tuple[float, float],
    text: str,
    size: int,
    colour: Colour = TEXT,
    *,
    limit: float | None = None,
    anchor: str = "la",
    bold: bool = False,
) -> float:
    """Draw one line at ``xy`` (Pillow anchors; "la" is left, ascender); return its length."""
    shown = printable(text) if limit is None else fitted(text, size, limit)
    # The font has one weight; a hairline stroke of its own colour reads as semi-bold.
    draw.text(
        xy, shown, fill=colour, font=font(size), anchor=anchor, stroke_width=0.4 if bold else 0
    )
    return font(size).getlength(shown)
