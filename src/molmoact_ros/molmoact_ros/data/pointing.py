"""Molmo pointing: where is the gripper, asked of a model, for set-ups without calibration.

Uses a local Molmo2 folder in transformers' own classes (no code from a hub). The answer names a
point in per cent of the picture; only the first is taken. About a second a frame on a GPU.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

QUESTION = "Point to the end effector of the robot arm."
_XML = re.compile(r'\bx1?="\s*([0-9.]+)"\s+y1?="\s*([0-9.]+)"')
_TUPLE = re.compile(r"\b(\d{3,4})[ ,]+(\d{3,4})\b")


class MolmoPointer:
    """Loads once; ``point`` asks for one picture."""

    def __init__(self, folder: Path, device: str = "") -> None:
        from transformers import AutoModelForImageTextToText, AutoProcessor

        if not (folder / "config.json").is_file():
            raise FileNotFoundError(f"{folder}: no config.json; give the folder of a Molmo2 model")
        self._device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._processor: Any = AutoProcessor.from_pretrained(folder, local_files_only=True)
        model: Any = AutoModelForImageTextToText.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype="auto"
        )
        self._model = model.to(self._device).eval()

    def point(self, rgb: NDArray[np.uint8]) -> tuple[float, float] | None:
        """Shares 0..1 of width and height, or None when the model sees no gripper."""
        message = [
            {
                "role": "user",
                "content": [
                    {"type": "image", "image": Image.fromarray(rgb)},
                    {"type": "text", "text": QUESTION},
                ],
            }
        ]
        inputs = self._processor.apply_chat_template(
            message, add_generation_prompt=True, tokenize=True, return_dict=True,
            return_tensors="pt",
        ).to(self._device)  # fmt: skip
        with torch.inference_mode():
            out = self._model.generate(**inputs, max_new_tokens=64, do_sample=False)
        answer = self._processor.decode(
            out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True
        )
        return point_in_answer(str(answer))


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
