"""Depth Anything V2 through transformers, for recordings without a depth camera.

Relative depth, ViT-B, shorter side 518: the estimator of the released labels (arXiv 2508.07917).
On a CPU a frame takes 5 to 10 s, so use a GPU or the depth camera. Metric variants of the model
give metres, large = far, and are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from molmoact_ros.data.local_models import BadModel, config_of, device_of

_MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
_STD = np.array([0.229, 0.224, 0.225], dtype=np.float32)
SIDE, MULTIPLE = 518, 14
WANTED = "Depth-Anything-V2-Base-hf"


class DepthAnything:
    """A local folder of Depth-Anything-V2 weights in transformers' layout.

    device: empty for CUDA where there is one. Raises OSError (no such files) or BadModel.
    """

    def __init__(self, folder: Path, device: str = "") -> None:
        from transformers import DepthAnythingForDepthEstimation

        config = config_of(folder, WANTED)
        kind = config.get("depth_estimation_type", "relative")
        if config.get("model_type") != "depth_anything" or kind != "relative":
            raise BadModel(
                f"{folder}: {kind} depth of a {config.get('model_type')!r} model; give the folder "
                f"of {WANTED}, whose depth is relative"
            )
        self._device = device_of(device)
        network: Any = DepthAnythingForDepthEstimation.from_pretrained(
            folder, local_files_only=True, use_safetensors=True
        )
        self._network = network.to(self._device).eval()
        self._mean = torch.from_numpy(_MEAN).to(self._device)
        self._std = torch.from_numpy(_STD).to(self._device)

    def estimate(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Relative inverse depth float32 [H, W] of uint8 [H, W, 3]: large = near."""
        return np.asarray(self.estimate_many([rgb])[0])

    def estimate_many(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """As ``estimate``, float32 [N, H, W] of pictures of one size: a GPU wants several."""
        height, width = pictures[0].shape[:2]
        raw = torch.from_numpy(np.stack(pictures)).to(self._device)
        pixels = ((raw.float() / 255.0 - self._mean) / self._std).permute(0, 3, 1, 2)
        pixels = functional.interpolate(
            pixels, input_size(height, width), mode="bicubic", align_corners=False
        )
        with torch.inference_mode():
            found = self._network(pixel_values=pixels).predicted_depth
            found = functional.interpolate(
                found[:, None], (height, width), mode="bilinear", align_corners=True
            )
        return np.asarray(found[:, 0].float().cpu().numpy(), dtype=np.float32)


def input_size(height: int, width: int) -> tuple[int, int]:
    """Shorter side 518, aspect kept, both sides rounded to multiples of 14."""
    scale = SIDE / min(height, width)
    return (
        max(SIDE, round(height * scale / MULTIPLE) * MULTIPLE),
        max(SIDE, round(width * scale / MULTIPLE) * MULTIPLE),
    )
