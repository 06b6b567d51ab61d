"""Pictures become exactly the crops, patch numbers and token layouts the weights were trained on.

A pixel or an index off by one would not crash anything: the model would only see worse.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from molmoact_ros.model.image_processor import ImageProcessor
from molmoact_ros.model.image_settings import ImageSettings
from molmoact_ros.model.tiling import choose_tiling

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (ROOT / "tests/golden/image_proc", ROOT.parent / "shared/golden/image_proc")
FILES = {path.name: path for folder in reversed(FOLDERS) for path in folder.glob("*_*x*.npz")}
EMPTY_SLOTS_OF_D = 27 + 27 + 1


def _processed(name: str, data: dict[str, np.ndarray]):
    if name.startswith("siglip"):
        style, size, crops = "siglip", 378, 8
    else:
        style, size, crops = "default", 336, 12
    multi_crops = int(data.get("max_multi_image_crops", 8))
    settings = ImageSettings(style, size, max_crops=crops, max_multi_image_crops=multi_crops)
    pictures = [data[f"rgb_{k}"] for k in range(9) if f"rgb_{k}" in data]
    return ImageProcessor(settings)(pictures, multi="multi" in name)


@pytest.mark.parametrize("name", sorted(FILES))
def test_pictures_become_the_recorded_arrays(name: str) -> None:
    data = dict(np.load(FILES[name]))
    out = _processed(name, data)
    assert len(out.crops) == data["n_crops"]
    assert np.array_equal(out.grids, data["image_grids"])
    assert np.array_equal(out.pooled_patches, data["pooled_patches_idx"])
    assert np.array_equal(out.masks, data["image_masks"])
    assert np.array_equal(np.concatenate(out.kinds), data["token_kinds"])
    sample = data["sample_patch_index"]
    if name.startswith("siglip"):
        # Grey levels are whole numbers here, so nothing less than equality is right.
        levels = np.rint((out.crops + 1) * 127.5)
        assert np.array_equal(levels[:, sample], data["images_u8_sample"])
        exact = np.float32(-1) + np.float32(2) * (levels.astype(np.float32) / np.float32(255))
        assert np.array_equal(out.crops, exact)
        if "images_u8" in data:
            assert np.array_equal(levels, data["images_u8"])
    else:
        assert np.abs(out.crops[:, sample] - data["images_sample"]).max() <= 2e-6
        if "images" in data:
            assert np.abs(out.crops - data["images"]).max() <= 2e-6
    assert np.abs(out.crops.mean(-1) - data["patch_mean"]).max() <= 2e-6
    assert np.abs(out.crops.std(-1) - data["patch_std"]).max() <= 2e-6


def test_every_picture_size_gets_the_recorded_number_of_tiles() -> None:
    table = np.load(FOLDERS[0] / "tiling_table.npz")["table"]
    assert len(table) > 400
    for width, height, base, limit, rows, columns in table.tolist():
        found = choose_tiling(height, width, base - 112, 112, limit)
        assert found == (rows, columns), f"{width}x{height}, crops of {base}, at most {limit}"


def test_empty_slots_of_a_second_picture_name_the_picture_before() -> None:
    """The accident the weights were trained with; "repairing" it would change what they see."""
    picture = np.full((240, 320, 3), 90, dtype=np.uint8)
    out = ImageProcessor(ImageSettings("siglip", 378))([picture, picture], multi=True)
    per_picture = len(out.pooled_patches) // 2
    first, second = out.pooled_patches[:per_picture], out.pooled_patches[per_picture:]
    empty = first == -1
    assert empty.sum() == 2 * EMPTY_SLOTS_OF_D
    assert (second[empty] == 2 * 729 - 1).all()
    assert not (second == -1).any()


def test_a_small_picture_is_encoded_once() -> None:
    """Its only tile equals the low-resolution crop; encoding both doubles the vision time."""
    processor = ImageProcessor(ImageSettings("default", 336))
    picture = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    out = processor([picture, picture], multi=True)
    assert out.same_as.tolist() == [0, 0, 2, 2]
    assert np.array_equal(out.crops[0], out.crops[1])


@pytest.mark.parametrize(
    "picture",
    [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8, 3), np.float32)],
)
def test_anything_but_rgb_bytes_is_refused(picture: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        ImageProcessor(ImageSettings("siglip", 378))([picture], multi=False)
