"""Molmo pointing: where is the gripper, asked of a model, for set-ups without calibration.

Uses a local Molmo2 folder in transformers' own classes (no code from a hub). The answer names a
point in shares of the picture; only the first is taken. About a second a frame on a GPU.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from molmoact_ros.data.local_models import BadModel, config_of, device_of
from molmoact_ros.data.molmo2_prompt import Molmo2Prompt

WANTED = "Molmo2-4B or Molmo2-8B"
QUESTION = "Point to the end effector of the robot arm."
_XML = re.compile(r'\bx1?="\s*([0-9.]+)"\s+y1?="\s*([0-9.]+)"')
_TUPLE = re.compile(r"\b(\d{3,4})[ ,]+(\d{3,4})\b")


class MolmoPointer:
    """Loads once; ``point`` asks for one picture.

    device: empty for CUDA where there is one. Raises OSError (no such files) or BadModel.
    """

    def __init__(self, folder: Path, device: str = "") -> None:
        from transformers import AutoModelForImageTextToText

        kind = config_of(folder, WANTED).get("model_type")
        if kind != "molmo2":
            raise BadModel(
                f"{folder}: a {kind!r} model, expected 'molmo2' ({WANTED}). Molmo-7B-D and others "
                "bring code of their own, which is never run here"
            )
        self._device = device_of(device)
        self._prompt = Molmo2Prompt(folder)
        model: Any = AutoModelForImageTextToText.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, trust_remote_code=False,
            dtype="auto",
        )  # fmt: skip
        self._model = model.to(self._device).eval()

    def point(self, rgb: NDArray[np.uint8]) -> tuple[float, float] | None:
        """Shares 0..1 of width and height, or None when the model sees no gripper."""
        inputs = {k: v.to(self._device) for k, v in self._prompt(rgb, QUESTION).items()}
        inputs["pixel_values"] = inputs["pixel_values"].to(self._model.dtype)
        with torch.inference_mode():
            out = self._model.generate(**inputs, max_new_tokens=64, do_sample=False)
        return point_in_answer(self._prompt.answer(out[0, inputs["input_ids"].shape[1] :]))


def point_in_answer(text: str) -> tuple[float, float] | None:
    """First point of a Molmo answer as shares: per cent (``x="12.3" y="4.5"``) or Molmo2's
    thousandths. None when there is none or it lies outside the picture.
    """
    found, scale = _XML.search(text), 100.0
    if found is None:
        found, scale = _TUPLE.search(text), 1000.0
    if found is None:
        return None
    x, y = float(found.group(1)) / scale, float(found.group(2)) / scale
    return (x, y) if 0.0 <= x <= 1.0 and 0.0 <= y <= 1.0 else None
