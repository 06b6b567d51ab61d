"""Depth Anything through transformers, from a tiny folder of random weights."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    AutoImageProcessor,
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
)

from molmoact_ros.cli import main
from molmoact_ros.data.estimator import SIDE, DepthAnything
from molmoact_ros.data.local_models import BadModel, device_of
from molmoact_ros.reasoning.depth_image import relative_depth_u8

sys.path.insert(0, str(Path(__file__).parent))
from bag_writing_helpers import write_bag

PREPROCESSOR = {
    "image_processor_type": "DPTImageProcessor",
    "size": {"height": 518, "width": 518},
    "ensure_multiple_of": 14,
    "keep_aspect_ratio": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "resample": 3,
}
"""As the released folder says it."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of the released architecture with four blocks of width 16."""
    torch.manual_seed(0)
    backbone = Dinov2Config(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, mlp_ratio=2, image_size=518,
        patch_size=14, out_indices=[1, 2, 3, 4], reshape_hidden_states=False,
        apply_layernorm=True,
    )  # fmt: skip
    config = DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=16, neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8, head_hidden_size=4, patch_size=14,
    )  # fmt: skip
    network = DepthAnythingForDepthEstimation(config)
    for values in network.parameters():
        if values.ndim > 1:  # transformers' own values are too small to make a difference
            torch.nn.init.xavier_normal_(values, gain=1.5)
    torch.nn.init.constant_(network.head.conv3.bias, 5.0)  # else ReLU may say 0 everywhere
    out = tmp_path_factory.mktemp("depth_anything")
    network.save_pretrained(out)
    (out / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    return out


def test_depth_is_what_transformers_own_steps_say_near_is_large(folder: Path) -> None:
    """The network's number is large where it is near; codes must keep that (data contract 8)."""
    rgb = np.full((SIDE, SIDE, 3), 60, np.uint8)  # nothing is resized
    rgb[150:350, 200:400] = (220, 180, 90)
    found = DepthAnything(folder, "cpu").estimate(rgb)
    assert found.shape == (SIDE, SIDE) and found.dtype == np.float32
    processor = AutoImageProcessor.from_pretrained(folder)
    network = DepthAnythingForDepthEstimation.from_pretrained(folder).eval()
    with torch.inference_mode():
        out = network(**processor(images=rgb, return_tensors="pt"))
    (theirs,) = processor.post_process_depth_estimation(out, target_sizes=[(SIDE, SIDE)])
    near = theirs["predicted_depth"].numpy()
    assert near.std() > 0.05
    assert np.allclose(found, near, atol=1e-3 * near.max())
    grey = relative_depth_u8(found, source="relative")
    assert grey.flat[near.argmax()] > 250 and grey.flat[near.argmin()] < 5


def test_any_aspect_comes_back_in_the_pictures_shape(folder: Path) -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (60, 80, 3)).astype(np.uint8)
    found = DepthAnything(folder, "cpu").estimate(rgb)
    assert found.shape == (60, 80) and np.isfinite(found).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"depth_estimation_type": "metric", "max_depth": 20}, "metric depth"),
        ({"model_type": "dpt"}, "'dpt' model"),
    ],
)
def test_a_model_whose_numbers_mean_something_else_is_refused(
    folder: Path, tmp_path: Path, change: dict[str, object], words: str
) -> None:
    """Metric variants say metres: large = far."""
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(BadModel, match=words):
        DepthAnything(tmp_path)


def test_a_folder_without_a_model_ends_the_run_and_not_the_bags(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong path must not cost the labels there are."""
    bag, out = write_bag(tmp_path, "a"), tmp_path / "data"
    command = ["label", str(bag), "--out", str(out), "--set", "image_size=[64,48]"]
    assert main(command) == 0
    (path,) = (out / "labels").glob("*.parquet")
    assert main([*command, "--depth-estimator", str(tmp_path)]) == 2
    assert "no config.json; download Depth-Anything-V2-Base-hf" in capsys.readouterr().err
    assert path.is_file()


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")
def test_a_gpu_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert device_of("") == "cpu"
    with pytest.raises(BadModel, match="no CUDA here"):
        device_of("cuda:0")
