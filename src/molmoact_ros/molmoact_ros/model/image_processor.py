"""Camera pictures to crops, pooling indices and image-token layouts.

Reproduces the released processor exactly, including one of its accidents: in a multi-image
prompt the running patch offset is added to EMPTY slots of later pictures too, so that they name
the last patch of the picture before. The weights were trained with that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.model.config import CheckpointError, VitConfig
from molmoact_ros.model.resize import letterbox, stretch
from molmoact_ros.model.tiling import choose_tiling, pool_windows, tile_patches, token_kinds


@dataclass(frozen=True)
class ImageSettings:
    """What preprocessor_config.json fixes. Sizes in pixels, margins in patches.

    style: "siglip" stretches to -1..1 (7B-D); "default" letterboxes with CLIP statistics (7B-O).
    max_crops limits the tiles of a single picture, max_multi_image_crops those of each picture
    in a multi-image prompt; the low-resolution crop comes on top.
    """

    style: Literal["siglip", "default"]
    size: int
    patch: int = 14
    margins: tuple[int, int] = (4, 4)
    pooling: tuple[int, int] = (2, 2)
    max_crops: int = 8
    max_multi_image_crops: int = 8

    @property
    def grid(self) -> int:
        """Patches a side of a crop."""
        return self.size // self.patch

    def to_dict(self) -> dict[str, Any]:
        """The content of preprocessor_config.json."""
        return {
            "image_processor_type": "MolmoActImageProcessor",
            "crop_mode": "overlap-and-resize-c2",
            "resize_mode": self.style,
            "normalize_mode": "siglip" if self.style == "siglip" else "openai",
            "base_image_input_size": [self.size, self.size],
            "image_patch_size": self.patch,
            "overlap_margins": list(self.margins),
            "pooling": list(self.pooling),
            "max_crops": self.max_crops,
            "max_multi_image_crops": self.max_multi_image_crops,
        }


def settings_from_dict(
    data: Mapping[str, Any], vit: VitConfig, where: str = "preprocessor_config.json"
) -> ImageSettings:
    """Settings of a checkpoint. The style follows the ViT: CLIP has a class token, SigLIP none.

    Fields that a released file spells otherwise fall back to the values of the released models.
    Raises CheckpointError when file and ViT disagree about the crop size.
    """
    size = _integers(data, "base_image_input_size", vit.image_default_input_size, where)
    if size != vit.image_default_input_size or size[0] != size[1]:
        raise CheckpointError(
            f"{where}: base_image_input_size {list(size)} does not fit vit_config "
            f"{list(vit.image_default_input_size)}; take both files from the same checkpoint"
        )
    settings = ImageSettings(
        style="default" if vit.use_cls_token else "siglip",
        size=size[0],
        patch=vit.image_patch_size,
        margins=_integers(data, "overlap_margins", (4, 4), where),
        pooling=_integers(data, "pooling", (2, 2), where),
        max_crops=_integers(data, "max_crops", (8, 8), where)[0],
        max_multi_image_crops=_integers(data, "max_multi_image_crops", (8, 8), where)[0],
    )
    if sum(settings.margins) >= settings.grid:
        raise CheckpointError(
            f"{where}: overlap_margins {list(settings.margins)} leave nothing of a crop of "
            f"{settings.grid} patches; make them smaller"
        )
    return settings


def _integers(
    data: Mapping[str, Any], key: str, default: tuple[int, int], where: str
) -> tuple[int, int]:
    value = data.get(key, default)
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) != 2 or any(type(item) is not int or item < 1 for item in pair):
        raise CheckpointError(f"{where}: {key} is {value!r}, expected one or two whole numbers > 0")
    return pair[0], pair[1]


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
        limit = self.settings.max_multi_image_crops if multi else self.settings.max_crops
        parts = [self._picture(picture, limit) for picture in pictures]
        pooled, same_as, crops = [], [], 0
        for part in parts:
            pooled.append(part.pooled_patches + np.int32(crops * self.settings.grid**2))
            same_as.append(part.same_as + crops)
            crops += len(part.crops)
        return ProcessedImages(
            crops=np.concatenate([part.crops for part in parts]),
            masks=np.concatenate([part.masks for part in parts]),
            pooled_patches=np.concatenate(pooled),
            grids=np.concatenate([part.grids for part in parts]),
            kinds=tuple(kinds for part in parts for kinds in part.kinds),
            same_as=np.concatenate(same_as),
        )

    def _picture(self, picture: NDArray[np.uint8], limit: int) -> ProcessedImages:
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise ValueError(
                f"a picture is {picture.dtype} {list(picture.shape)}, expected uint8 [H, W, 3]; "
                "convert it to RGB first"
            )
        s = self.settings
        margin = sum(s.margins) * s.patch
        window = s.size - margin
        high, wide = picture.shape[:2]
        rows, columns = choose_tiling(high, wide, window, margin, limit)
        low, low_mask = self._resized(picture, s.size, s.size)
        crops, masks = [self._patches(low)], [self._patch_mask(low_mask)]
        if (rows, columns) == (1, 1):
            # The only tile is the low-resolution crop again, for both styles of resizing.
            crops, masks, same_as = crops * 2, masks * 2, [0, 0]
        else:
            large, mask = self._resized(picture, rows * window + margin, columns * window + margin)
            for tile in range(rows * columns):
                top, left = (tile // columns) * window, (tile % columns) * window
                cut = np.s_[top : top + s.size, left : left + s.size]
                crops.append(self._patches(large[cut]))
                masks.append(self._patch_mask(mask[cut]))
            same_as = list(range(len(crops)))
        low_windows = pool_windows(
            np.arange(s.grid**2, dtype=np.int32).reshape(s.grid, -1), s.pooling
        )
        tiles = tile_patches(rows, columns, s.grid, s.margins) + np.int32(s.grid**2)
        tile_windows = pool_windows(tiles, s.pooling)
        grids = np.array([low_windows.shape[:2], tile_windows.shape[:2]], dtype=np.int64)
        return ProcessedImages(
            crops=np.stack(crops),
            masks=np.stack(masks),
            pooled_patches=np.concatenate(
                [w.reshape(-1, w.shape[-1]) for w in (low_windows, tile_windows)]
            ),
            grids=grids,
            kinds=(token_kinds(grids),),
            same_as=np.array(same_as, dtype=np.int64),
        )

    def _resized(
        self, picture: NDArray[np.uint8], height: int, width: int
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        if self.settings.style == "siglip":
            return stretch(picture, height, width)
        return letterbox(picture, height, width)

    def _patches(self, crop: NDArray[np.float32]) -> NDArray[np.float32]:
        """[size, size, 3] to [patches, patch * patch * 3]."""
        g, p = self.settings.grid, self.settings.patch
        cut = crop.reshape(g, p, g, p, 3).transpose(0, 2, 1, 3, 4)
        return np.ascontiguousarray(cut.reshape(g * g, p * p * 3))

    def _patch_mask(self, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
        g, p = self.settings.grid, self.settings.patch
        return mask.reshape(g, p, g, p).astype(np.float32).mean(axis=(1, 3)).reshape(-1)
