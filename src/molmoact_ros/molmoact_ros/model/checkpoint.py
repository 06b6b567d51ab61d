"""Checkpoint folders: config.json, safetensors (one file or shards), tokenizer, preprocessor.

The layout is that of the released models. Weights are only ever read from safetensors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from molmoact_ros.model.config import (
    CheckpointError,
    MolmoActConfig,
    config_to_dict,
    load_config,
    read_json,
)
from molmoact_ros.model.image_processor import ImageProcessor
from molmoact_ros.model.image_settings import ImageSettings, settings_from_dict
from molmoact_ros.model.molmoact import MolmoAct
from molmoact_ros.model.tokenizer import MolmoActTokenizer
from molmoact_ros.model.weight_files import Progress, StoredTensor, read_table, read_tensors
from molmoact_ros.model.weight_writing import SHARD_BYTES, write_weights

PREPROCESSOR = "preprocessor_config.json"
CARD = "README.md"
_ORIGIN = "weights:"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Everything needed to think. ``origin``: where the weights come from, in plain words."""

    config: MolmoActConfig
    model: MolmoAct
    tokenizer: MolmoActTokenizer
    processor: ImageProcessor
    name: str
    origin: str


def load_checkpoint(
    folder: Path,
    device: str = "cpu",
    dtype: torch.dtype | None = torch.float32,
    *,
    progress: Progress | None = None,
) -> Checkpoint:
    """Load a folder for inference. ``dtype`` None: as stored.

    ``progress`` is called with the bytes loaded and the bytes in all. Raises CheckpointError
    naming file and tensor.
    """
    config = load_config(folder)
    tokenizer = MolmoActTokenizer.load(folder, config.llm.vocab_size)
    if tokenizer.ids.im_patch != config.image_patch_id:
        raise CheckpointError(
            f"{folder}: config.json names image-patch id {config.image_patch_id}, tokenizer.json "
            f"{tokenizer.ids.im_patch}; take both files from the same checkpoint"
        )
    path = folder / PREPROCESSOR
    settings = settings_from_dict(read_json(path), config.vit, str(path))
    model = load_model(folder, config, device, dtype, progress=progress)
    return Checkpoint(
        config, model, tokenizer, ImageProcessor(settings), folder.name, read_origin(folder)
    )


def save_checkpoint(
    folder: Path,
    model: MolmoAct,
    tokenizer: MolmoActTokenizer,
    settings: ImageSettings,
    card: str,
    origin: str,
    *,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write a complete folder. ``card`` is README text; ``origin`` its one ``weights:`` line."""
    save_settings(folder, model.config, tokenizer, settings)
    save_weights(folder, model, shard_bytes=shard_bytes)
    write_card(folder, card, origin)


def save_settings(
    folder: Path, config: MolmoActConfig, tokenizer: MolmoActTokenizer, settings: ImageSettings
) -> None:
    """Everything of a checkpoint folder but weights and card."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "config.json", config_to_dict(config))
    _write_json(folder / PREPROCESSOR, settings.to_dict())
    _write_json(
        folder / "generation_config.json",
        {
            "bos_token_id": tokenizer.ids.eos,
            "eos_token_id": tokenizer.ids.eos,
            "pad_token_id": tokenizer.ids.pad,
        },
    )
    tokenizer.save(folder)


def save_weights(folder: Path, model: MolmoAct, *, shard_bytes: int = SHARD_BYTES) -> None:
    """The weights alone, in the precision the model has: tensor for tensor the same bytes."""
    state = model.state_dict()
    write_weights(
        folder,
        {name: tuple(tensor.shape) for name, tensor in state.items()},
        lambda name: state[name].dtype,
        lambda name: state[name],
        shard_bytes=shard_bytes,
    )


def write_card(folder: Path, card: str, origin: str) -> None:
    """README.md of a checkpoint folder, with its ``weights:`` line."""
    (folder / CARD).write_text(f"{card.rstrip()}\n\n{_ORIGIN} {origin}\n", encoding="utf-8")


def read_origin(folder: Path) -> str:
    """The ``weights:`` line of the folder's README.md, or that there is none."""
    path = folder / CARD
    if path.is_file():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(_ORIGIN):
                return line.removeprefix(_ORIGIN).strip()
    return "origin of the weights not stated in README.md"


def load_model(
    folder: Path,
    config: MolmoActConfig,
    device: str = "cpu",
    dtype: torch.dtype | None = torch.float32,
    *,
    progress: Progress | None = None,
) -> MolmoAct:
    """The network with its weights, in evaluation mode. Every tensor must be there and fit.

    Arguments and memory: see ``load_checkpoint`` and ``weight_files.read_tensors``.
    """
    with torch.device("meta"):
        model = MolmoAct(config)
    table = read_table(folder)
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    for stored in table.values():
        _check_tensor(stored, expected)
    missing = expected.keys() - table.keys()
    if missing:
        raise CheckpointError(
            f"{folder}: {len(missing)} tensors are missing, first {min(missing)!r}; "
            "a shard is absent or config.json belongs to another model"
        )
    model.load_state_dict(dict(read_tensors(table, device, dtype, progress)), assign=True)
    return model.eval().requires_grad_(False)


def _check_tensor(stored: StoredTensor, expected: Mapping[str, tuple[int, ...]]) -> None:
    if stored.name not in expected:
        raise CheckpointError(
            f"{stored.path}: unknown tensor {stored.name!r}; config.json belongs to another "
            "model, or the file is in the training layout and must be converted"
        )
    if stored.shape != expected[stored.name]:
        raise CheckpointError(
            f"{stored.path}: {stored.name} has shape {list(stored.shape)}, config.json asks for "
            f"{list(expected[stored.name])}; take both files from the same checkpoint"
        )


def _write_json(path: Path, data: Mapping[str, object]) -> None:
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
