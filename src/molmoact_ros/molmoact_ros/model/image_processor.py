"""Camera pictures to crops, pooling indices and image-token layouts.

Reproduces the released processor exactly, including one of its accidents: in a multi-image
prompt the running patch offset is added to EMPTY slots of later pictures too, so that they name
the last patch of the picture before. The weights were trained with that.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from molmoact_ros.model.image_settings import ImageSettings
from molmoact_ros.model.resize import GREY_LEVELS, letterbox, stretch
from molmoact_ros.model.tiling import choose_tiling, pool_windows, tile_patches, token_kinds

Floats32 = NDArray[np.float32]
Pixel = TypeVar("Pixel", np.uint8, np.float32)

_WORKERS = ThreadPoolExecutor(max_workers=2, thread_name_prefix="pictures")


@dataclass(frozen=True)
class ProcessedImages:
    """All pictures of one prompt.

    crops float32 [C, patches, patch*patch*3], channel fastest; masks float32 [C, patches], share
    of real pixels; pooled_patches int32 [tokens, 4], -1 = empty; grids int64 [2 * pictures, 2],
    pooled rows and columns, low-res then tiles; kinds: per picture int8 token kinds (``tiling``);
    same_as int64 [C]: for every crop the number of an identical one, itself if there is none.
    """

    crops: NDArray[np.float32]
    masks: NDArray[np.float32]
    pooled_patches: NDArray[np.int32]
    grids: NDArray[np.int64]
    kinds: tuple[NDArray[np.int8], ...]
    same_as: NDArray[np.int64]


class ImageProcessor:
    """RGB pictures in, arrays for ``MolmoAct.encode_images`` out."""

    def __init__(self, settings: ImageSettings) -> None:
        self.settings = settings

    def __call__(self, pictures: Sequence[NDArray[np.uint8]], *, multi: bool) -> ProcessedImages:
        """``multi`` selects the multi-image crop limit; it may be True for one picture as well.

        Raises ValueError for anything that is not RGB uint8 [H, W, 3].
        """
        if not pictures:
            raise ValueError("no pictures were given; a MolmoAct prompt needs at least one")
        s = self.settings
        limit = s.max_multi_image_crops if multi else s.max_crops
        layouts = [_layout(s, *self._tiling(picture, limit)) for picture in pictures]
        first = np.cumsum([0, *(layout.crops for layout in layouts)])
        crops = np.empty((int(first[-1]), s.grid**2, s.patch**2 * 3), dtype=np.float32)
        masks = np.ones(crops.shape[:2], dtype=np.float32)
        # A thread a picture: the work is in numpy and OpenCV, which let others run meanwhile.
        jobs = [
            _WORKERS.submit(self._fill, picture, layout, crops[begin:], masks[begin:])
            for picture, layout, begin in zip(pictures, layouts, first.tolist(), strict=False)
        ]
        for job in jobs:
            job.result()
        places = list(zip(layouts, first.tolist(), strict=False))
        return ProcessedImages(
            crops=crops,
            masks=masks,
            pooled_patches=np.concatenate([x.pooled + np.int32(n * s.grid**2) for x, n in places]),
            grids=np.concatenate([layout.grids for layout in layouts]),
            kinds=tuple(layout.kinds for layout in layouts),
            same_as=np.concatenate([layout.same_as + n for layout, n in places]),
        )

    def _tiling(self, picture: NDArray[np.uint8], limit: int) -> tuple[int, int]:
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise ValueError(
                f"a picture is {picture.dtype} {list(picture.shape)}, expected uint8 [H, W, 3]; "
                "convert it to RGB first"
            )
        s = self.settings
        return choose_tiling(picture.shape[0], picture.shape[1], s.window, s.margin, limit)

    def _fill(
        self, picture: NDArray[np.uint8], layout: _Layout, crops: Floats32, masks: Floats32
    ) -> None:
        """Write one picture's crops and masks at the beginning of the arrays given."""
        self._fill_from(picture, (1, 1), crops, masks)
        if layout.tiling == (1, 1):
            # The only tile is the low-resolution crop again, for both styles of resizing.
            crops[1], masks[1] = crops[0], masks[0]
        else:
            self._fill_from(picture, layout.tiling, crops[1:], masks[1:])

    def _fill_from(
        self,
        picture: NDArray[np.uint8],
        tiling: tuple[int, int],
        crops: Floats32,
        masks: Floats32,
    ) -> None:
        s = self.settings
        rows, columns = tiling
        height, width = (n * s.window + s.margin for n in tiling)
        levels, values, mask = None, None, None
        if s.style == "siglip":
            levels = stretch(picture, height, width)
        else:
            values, mask = letterbox(picture, height, width)
        for tile in range(rows * columns):
            top, left = (tile // columns) * s.window, (tile % columns) * s.window
            cut = np.s_[top : top + s.size, left : left + s.size]
            if levels is not None:
                cv2.LUT(_patches(levels[cut], s), GREY_LEVELS, dst=crops[tile])
            elif values is not None and mask is not None:
                crops[tile] = _patches(values[cut], s)
                g, p = s.grid, s.patch
                share = mask[cut].reshape(g, p, g, p).astype(np.float32).mean(axis=(1, 3))
                masks[tile] = share.reshape(-1)


@dataclass(frozen=True)
class _Layout:
    """What depends on the tiling of one picture only; as in ProcessedImages, counted from 0."""

    tiling: tuple[int, int]
    crops: int
    pooled: NDArray[np.int32]
    grids: NDArray[np.int64]
    kinds: NDArray[np.int8]
    same_as: NDArray[np.int64]


@lru_cache(maxsize=64)
def _layout(s: ImageSettings, rows: int, columns: int) -> _Layout:
    low = np.arange(s.grid**2, dtype=np.int32).reshape(s.grid, -1)
    tiles = tile_patches(rows, columns, s.grid, s.margins) + np.int32(s.grid**2)
    windows = [pool_windows(patches, s.pooling) for patches in (low, tiles)]
    grids = np.array([w.shape[:2] for w in windows], dtype=np.int64)
    pooled = np.concatenate([w.reshape(-1, w.shape[-1]) for w in windows])
    count = 1 + rows * columns
    same_as = np.zeros(2, np.int64) if count == 2 else np.arange(count)
    return _Layout((rows, columns), count, pooled, grids, token_kinds(grids), same_as)


def _patches(crop: NDArray[Pixel], s: ImageSettings) -> NDArray[Pixel]:
    """[size, size, 3] to [patches, patch * patch * 3]."""
    g, p = s.grid, s.patch
    # Whole rows of a patch move at once: three bytes at a time would take four times as long.
    cut = crop.reshape(g, p, g, p * 3).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(cut).reshape(g * g, p * p * 3)
