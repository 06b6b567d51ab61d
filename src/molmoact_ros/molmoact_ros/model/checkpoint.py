"""Checkpoint folders: config.json, safetensors (one file or shards), tokenizer, preprocessor.

The layout is that of the released models. Weights are only ever read from safetensors.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from molmoact_ros.model.config import (
    CheckpointError,
    MolmoActConfig,
    config_to_dict,
    load_config,
    read_json,
)
from molmoact_ros.model.image_processor import ImageProcessor, ImageSettings, settings_from_dict
from molmoact_ros.model.molmoact import MolmoAct
from molmoact_ros.model.tokenizer import MolmoActTokenizer

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
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
    folder: Path, device: str = "cpu", dtype: torch.dtype = torch.float32
) -> Checkpoint:
    """Load a folder for inference. Raises CheckpointError naming file and tensor."""
    config = load_config(folder)
    tokenizer = MolmoActTokenizer.load(folder, config.llm.vocab_size)
    if tokenizer.ids.im_patch != config.image_patch_id:
        raise CheckpointError(
            f"{folder}: config.json names image-patch id {config.image_patch_id}, tokenizer.json "
            f"{tokenizer.ids.im_patch}; take both files from the same checkpoint"
        )
    path = folder / PREPROCESSOR
    settings = settings_from_dict(read_json(path), config.vit, str(path))
    model = load_model(folder, config, device, dtype)
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
) -> None:
    """Write a complete folder. ``card`` is README text; ``origin`` its one ``weights:`` line."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "config.json", config_to_dict(model.config))
    _write_json(folder / PREPROCESSOR, settings.to_dict())
    tokenizer.save(folder)
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, str(folder / WEIGHTS), metadata={"format": "pt"})
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
    dtype: torch.dtype = torch.float32,
) -> MolmoAct:
    """The network with its weights, in evaluation mode. Every tensor must be there and fit."""
    with torch.device("meta"):
        model = MolmoAct(config)
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    missing = set(expected)
    for path in weight_files(folder):
        found = {}
        for name, tensor in _tensors(path, device):
            _check_tensor(path, name, tensor, expected)
            found[name] = tensor.to(dtype)
        # Shard by shard: a 7B model never lies in memory twice.
        model.load_state_dict(found, strict=False, assign=True)
        missing -= set(found)
    if missing:
        raise CheckpointError(
            f"{folder}: {len(missing)} tensors are missing, first {min(missing)!r}; "
            "a shard is absent or config.json belongs to another model"
        )
    return model.eval().requires_grad_(False)


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a folder, by its index where it has one."""
    index = folder / INDEX
    if not index.is_file():
        if (folder / WEIGHTS).is_file():
            return [folder / WEIGHTS]
        raise CheckpointError(f"{folder}: neither {WEIGHTS} nor {INDEX}; download the weights")
    table = read_json(index).get("weight_map")
    if not isinstance(table, dict) or not table:
        raise CheckpointError(f"{index}: weight_map is missing; download it again")
    names = sorted({str(name) for name in table.values()})
    for name in names:
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise CheckpointError(f"{index}: {name!r} is not a safetensors file of this folder")
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder / name}: shard is missing; download it")
    return [folder / name for name in names]


def _tensors(path: Path, device: str) -> Iterator[tuple[str, torch.Tensor]]:
    try:
        with safe_open(str(path), framework="pt", device=device) as shard:
            for name in shard.keys():  # noqa: SIM118 - not a dict, it has no iterator
                yield name, shard.get_tensor(name)
    except SafetensorError as error:
        raise CheckpointError(f"{path}: damaged ({error}); download it again") from None


def _check_tensor(
    path: Path, name: str, tensor: torch.Tensor, expected: Mapping[str, tuple[int, ...]]
) -> None:
    if name not in expected:
        raise CheckpointError(
            f"{path}: unknown tensor {name!r}; config.json belongs to another model, or the file "
            "is in the training layout and must be converted"
        )
    if tuple(tensor.shape) != expected[name]:
        raise CheckpointError(
            f"{path}: {name} has shape {list(tensor.shape)}, config.json asks for "
            f"{list(expected[name])}; take both files from the same checkpoint"
        )
    if not tensor.is_floating_point():
        raise CheckpointError(f"{path}: {name} is {tensor.dtype}, expected floating point")


def _write_json(path: Path, data: Mapping[str, object]) -> None:
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
