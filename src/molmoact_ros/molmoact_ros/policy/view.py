"""What the network sees of the robot's pictures: the same steps that its training pictures took.

Order of training (data contract, section 11): brought to the card's size, trace drawn, cropped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from molmoact_ros.reasoning.libero_steps import centre_crop
from molmoact_ros.reasoning.overlay import draw_trace
from molmoact_ros.reasoning.trace_text import GRID

Pictures = tuple[NDArray[np.uint8], ...]

LONGEST_SIDE = 336
"""Pixels; larger pictures are shrunk, as in the released fine-tuning data: none is tiled."""


@dataclass(frozen=True)
class View:
    """size: (width, height) of the training pictures, or None where no card says it. longest:
    pixels to which larger pictures are shrunk, or None. area: share of the picture that is looked
    at, around its centre (card field ``center_crop``). moves_trace: trace text is in coordinates
    of that part (card field ``crop_moves_trace``).
    """

    size: tuple[int, int] | None = None
    longest: int | None = LONGEST_SIDE
    area: float = 1.0
    moves_trace: bool = True

    def seen(self, pictures: Sequence[NDArray[np.uint8]], path: Any = None) -> Pictures:
        """RGB pictures [H, W, 3] as the network gets them, ``path`` [L, 2] (0..255 grid of the
        whole first picture) drawn on the first. Raises ValueError for another format.
        """
        if self.size is not None:
            pictures = [resized(picture, self.size) for picture in pictures]
        if path is not None and len(path):
            pictures = [draw_trace(pictures[0], path), *pictures[1:]]
        if self.area < 1.0:
            pictures = [centre_crop(picture, self.area) for picture in pictures]
        if self.longest is not None:
            pictures = [shrunk(picture, self.longest) for picture in pictures]
        return tuple(pictures)

    def in_whole_picture(self, trace: NDArray[np.float32]) -> NDArray[np.float32]:
        """Trace points [L, 2] that the network wrote, on the 0..255 grid of the whole picture."""
        if self.area >= 1.0 or not self.moves_trace or not trace.size:
            return trace
        side = math.sqrt(self.area)
        return np.asarray(trace * side + GRID * (1.0 - side) / 2.0, np.float32)


def view_of(card: Mapping[str, Any], longest: int | None = LONGEST_SIDE) -> View:
    """The view of a checkpoint whose statistics carry this card; of released ones: no card, whole
    pictures. Raises ValueError for values that no training has.
    """
    size, area = card.get("image_size"), card.get("center_crop", 1.0)
    if size is not None and not (
        isinstance(size, list | tuple)
        and len(size) == 2
        and all(isinstance(n, int) and 32 <= n <= 2048 for n in size)
    ):
        raise ValueError(f"the card's image_size is {size!r}; expected two numbers of pixels")
    if isinstance(area, bool) or not isinstance(area, int | float) or not 0.25 <= area <= 1.0:
        raise ValueError(f"the card's center_crop is {area!r}; expected a share from 0.25 to 1")
    moves = bool(card.get("crop_moves_trace", True))
    return View(None if size is None else (size[0], size[1]), longest, float(area), moves)


def resized(rgb: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """``size`` (width, height); shrinking averages areas, so that thin things do not vanish."""
    if (rgb.shape[1], rgb.shape[0]) == size:
        return rgb
    shrinks = rgb.shape[1] > size[0]
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(rgb, size, interpolation=way), dtype=np.uint8)


def shrunk(picture: NDArray[np.uint8], longest: int = LONGEST_SIDE) -> NDArray[np.uint8]:
    """RGB [H, W, 3] with no side above ``longest`` pixels, aspect kept (Lanczos); never enlarged.

    Raises ValueError for anything but uint8 [H, W, 3].
    """
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        raise ValueError(
            f"a picture is {picture.dtype} {list(picture.shape)}, expected RGB uint8 [H, W, 3]; "
            "check the camera's encoding"
        )
    height, width = picture.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return picture
    size = max(1, round(width * scale)), max(1, round(height * scale))
    image = Image.fromarray(np.ascontiguousarray(picture)).resize(size, Image.Resampling.LANCZOS)
    return np.asarray(image, dtype=np.uint8)
