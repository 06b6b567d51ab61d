"""A picture and a question as Molmo2 reads them, without torchvision.

transformers' own image processor for Molmo2 needs torchvision, which does not import beside the
CPU torch (requirements/model.txt). Molmo2 cuts pictures like MolmoAct with SigLIP, so our
processor does it: the same pooling, pixels within one grey level of transformers'.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from molmoact_ros.data.local_models import BadModel
from molmoact_ros.model.image_processor import ImageProcessor
from molmoact_ros.model.image_settings import ImageSettings

IMAGE = "<|image|>"
_IMAGE_TOKENS = (
    "<im_patch>", "<im_col>", "<im_start>", "<low_res_im_start>", "<frame_start>", "<im_end>",
    "<frame_end>", "<im_low>",
)  # fmt: skip


class Molmo2Prompt:
    """Tokenizer and picture settings of a local Molmo2 folder. Raises OSError or BadModel."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoTokenizer

        self._tokenizer: Any = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        ids = self._tokenizer.convert_tokens_to_ids([IMAGE, *_IMAGE_TOKENS])
        if not self._tokenizer.chat_template or len(set(ids)) < len(ids):
            raise BadModel(
                f"{folder}: its tokenizer has no chat template or no picture tokens; download "
                "all files of a Molmo2 model again"
            )
        self._image_ids = torch.tensor(ids[1:])
        self._options = _json(folder / "processor_config.json")
        pictures = _json(folder / "preprocessor_config.json")
        self._images = ImageProcessor(
            _settings({**pictures, **self._options.get("image_processor", {})})
        )

    def __call__(self, rgb: NDArray[np.uint8], question: str) -> dict[str, Tensor]:
        """What the network takes, for one picture uint8 [H, W, 3]."""
        made = self._images([rgb], multi=False)
        content = [{"type": "image"}, {"type": "text", "text": question}]
        text = self._tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        first = self._tokenizer.bos_token or self._tokenizer.eos_token
        text = str(text) if str(text).startswith(first) else first + str(text)
        text = text.replace(IMAGE, self._placeholders(made.grids))
        ids = self._tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        return {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "mm_token_type_ids": torch.isin(ids, self._image_ids).long(),
            "pixel_values": torch.from_numpy(made.crops),
            "image_token_pooling": torch.from_numpy(made.pooled_patches),
            "image_grids": torch.from_numpy(made.grids.reshape(1, 4)),
            "image_num_crops": torch.tensor([len(made.crops)]),
        }

    def answer(self, ids: Tensor) -> str:
        """The words of generated tokens [N]."""
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))

    def _placeholders(self, grids: NDArray[np.int64]) -> str:
        """One token a pooled window: the whole picture first, then its tiles."""
        columns = bool(self._options.get("image_use_col_tokens", True))
        low = self._options.get("use_single_crop_col_tokens")
        low_start = self._options.get("use_single_crop_start_token", True)
        start = "<low_res_im_start>" if low_start else "<im_start>"
        (low_high, low_wide), (high, wide) = grids.tolist()
        small = _rows(start, low_high, low_wide, columns if low is None else bool(low))
        return small + _rows("<im_start>", high, wide, columns)


def _rows(start: str, high: int, wide: int, columns: bool) -> str:
    row = "<im_patch>" * wide + ("<im_col>" if columns else "")
    return start + row * high + "<im_end>"


def _settings(found: Mapping[str, Any]) -> ImageSettings:
    """Values that a file does not name are those of the released models."""
    margins, pooling = found.get("overlap_margins", [4, 4]), found.get("pooling_size", [2, 2])
    return ImageSettings(
        "siglip",
        int(found.get("size", {}).get("height", 378)),
        int(found.get("patch_size", 14)),
        (int(margins[0]), int(margins[1])),
        (int(pooling[0]), int(pooling[1])),
        int(found.get("max_crops", 8)),
    )


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BadModel(f"{path}: {error}; download it again") from error
    return found if isinstance(found, dict) else {}
