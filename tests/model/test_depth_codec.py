"""Depth in metres to codes and back, with the packaged weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from molmoact_ros.model.codebook import PACKAGE_WEIGHTS, RELEASED
from molmoact_ros.model.depth_codec import DepthCodec
from molmoact_ros.model.depth_weights import load_depth_vqvae, save_depth_vqvae
from molmoact_ros.train.depth_maps import depth_metres
from molmoact_ros.train.vqvae_report import HELD_OUT_SEED, report

FRAMES = 10


@pytest.fixture(scope="module")
def codec() -> DepthCodec:
    return DepthCodec.from_package()


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    return list(depth_metres(FRAMES, HELD_OUT_SEED))


def test_decoded_depth_follows_rendered_depth(codec: DepthCodec, frames: list[np.ndarray]) -> None:
    """The operator looks at decoded codes: they must show the scene, not a stock picture."""
    result = report(codec, frames)
    assert result.frames == FRAMES
    assert result.spearman_median >= 0.95
    assert result.spearman_min > 0.95
    assert result.spearman_median > result.blind_spearman_median + 0.03
    assert result.mse < 0.004
    assert result.codes_used > 40


def test_codes_say_which_scene_it_is(codec: DepthCodec, frames: list[np.ndarray]) -> None:
    """Decoding one frame's codes must fit that frame better than the others."""
    decoded = np.array([codec.decode(codec.encode(frame)).ravel() for frame in frames])
    wanted = np.array([codec_input(frame) for frame in frames])
    errors = ((decoded[:, None] - wanted[None]) ** 2).mean(axis=2)
    assert (errors.argmin(axis=1) == np.arange(FRAMES)).mean() >= 0.9


def codec_input(metres: np.ndarray) -> np.ndarray:
    from molmoact_ros.reasoning.depth_image import relative_depth_u8, vqvae_input

    return vqvae_input(relative_depth_u8(metres, source="sensor")).ravel()


def test_forms_of_codes_and_pictures(codec: DepthCodec, frames: list[np.ndarray]) -> None:
    codes = codec.encode(frames[0])
    assert codes.shape == (10, 10) and codes.dtype == np.uint8
    assert codes.max() < codec.codes == 128
    picture = codec.decode(codes)
    assert picture.shape == (320, 320) and picture.dtype == np.float32
    assert picture.min() >= 0.0 and picture.max() <= 1.0
    np.testing.assert_array_equal(codec.decode(codes.astype(np.int64)), picture)


def test_near_is_bright(codec: DepthCodec, frames: list[np.ndarray]) -> None:
    """An inverted picture would correlate just as well with the wrong sign."""
    picture = codec.decode(codec.encode(frames[0]))
    # The front edge of the table is nearest, the far wall farthest.
    assert picture[280:, 60:260].mean() > picture[:40, :40].mean() + 0.2


def test_a_sensor_with_holes_gives_nearly_the_same_codes(
    codec: DepthCodec, frames: list[np.ndarray]
) -> None:
    """A D435 loses pixels; single holes must not become new words."""
    rng = np.random.default_rng(0)
    same = []
    for frame in frames[:4]:
        holed = np.where(rng.random(frame.shape) < 0.02, 0.0, frame).astype(np.float32)
        same.append((codec.encode(holed) == codec.encode(frame)).mean())
    assert np.mean(same) > 0.8


@pytest.mark.parametrize(
    ("codes", "words"),
    [
        (np.zeros((100,), dtype=np.uint8), "reshape"),
        (np.zeros((10, 10), dtype=np.float32), "whole numbers"),
        (np.full((10, 10), 128, dtype=np.int64), "0..127"),
        (np.full((10, 10), -1, dtype=np.int64), "0..127"),
    ],
)
def test_foreign_codes_are_refused(codec: DepthCodec, codes: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        codec.decode(codes)


def test_a_frame_without_measurements_is_refused(codec: DepthCodec) -> None:
    with pytest.raises(ValueError, match="no valid pixel"):
        codec.encode(np.zeros((240, 320), dtype=np.float32))


def test_codes_of_another_vqvae_are_not_drawn(
    codec: DepthCodec, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They would decode into a room that nobody saw, and look as good as a true one."""
    other = tmp_path / "vae-final.safetensors"
    save_depth_vqvae(load_depth_vqvae(PACKAGE_WEIGHTS), other, {"made": "elsewhere"})
    theirs = DepthCodec.from_file(other)
    codes = np.zeros((10, 10), np.uint8)
    assert codec.picture(codes, codec.codebook) is not None
    assert codec.picture(codes, "") is not None, "bags that are older than the name are drawn"
    for foreign in (theirs.codebook, RELEASED):
        assert codec.picture(codes, foreign) is None
        assert codec.picture(codes, foreign) is None
    assert theirs.picture(codes, theirs.codebook) is not None
    assert theirs.picture(codes, RELEASED) is not None
    assert theirs.picture(codes, codec.codebook) is None
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 3, "each is said once"
    assert theirs.codebook in said[0] and "vae-final.pt" in said[1]
    assert codec.picture(None) is None and codec.picture(codes[:5]) is None
