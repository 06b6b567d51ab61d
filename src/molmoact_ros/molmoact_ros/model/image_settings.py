"""What preprocessor_config.json fixes about the pictures of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from molmoact_ros.model.config import CheckpointError, VitConfig


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

    @property
    def margin(self) -> int:
        """Pixels by which the tiles of a picture overlap."""
        return sum(self.margins) * self.patch

    @property
    def window(self) -> int:
        """Pixels that every tile adds to the resized picture."""
        return self.size - self.margin

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
