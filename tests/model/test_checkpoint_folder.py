"""A folder loads completely or not at all; an error names the file, the tensor and the remedy."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from molmoact_ros.model.checkpoint import load_checkpoint, load_model
from molmoact_ros.model.config import (
    CheckpointError,
    config_from_dict,
    config_to_dict,
    load_config,
)
from molmoact_ros.model.molmoact import MolmoAct

GOLDEN = Path(__file__).resolve().parents[1] / "golden/models"
SHAPES = json.loads((GOLDEN / "state_dict_shapes_7B.json").read_text())


@pytest.fixture
def folder(tmp_path: Path, nano_folder: Path) -> Path:
    shutil.copytree(nano_folder, tmp_path / "nano")
    return tmp_path / "nano"


def _rewrite(folder: Path, change) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def released_config(model: str) -> dict:
    """config.json of 7B-D or 7B-O (values of the released conversion)."""
    data = config_to_dict(load_config(GOLDEN / ("d_tiny" if model == "D" else "o_tiny")))
    d = model == "D"
    data["image_patch_id"] = 152066 if d else 100866
    data["vit_config"] |= {
        "hidden_size": 1152 if d else 1024,
        "intermediate_size": 4304 if d else 4096,
        "num_hidden_layers": 27 if d else 23,
        "num_attention_heads": 16,
        "head_dim": 72 if d else 64,
        "image_default_input_size": [378, 378] if d else [336, 336],
        "image_num_pos": 729 if d else 577,
    }
    data["adapter_config"] |= {
        "vit_layers": [-3, -9] if d else [-2, -9],
        "hidden_size": 1152 if d else 1024,
        "num_attention_heads": 16,
        "head_dim": 72 if d else 64,
        "intermediate_size": 18944 if d else 11008,
        "text_hidden_size": 3584 if d else 4096,
    }
    data["llm_config"] |= {
        "hidden_size": 3584 if d else 4096,
        "num_hidden_layers": 28 if d else 32,
        "num_attention_heads": 28 if d else 32,
        "num_key_value_heads": 4 if d else 32,
        "head_dim": 128,
        "intermediate_size": 18944 if d else 11008,
        "vocab_size": 152064 if d else 100864,
        "additional_vocab_size": 128,
    }
    return json.loads(json.dumps(data))


@pytest.mark.parametrize("model", ["D", "O"])
def test_the_7b_networks_have_exactly_the_released_tensors(model: str) -> None:
    """One name or shape off and a released checkpoint would not load."""
    with torch.device("meta"):
        network = MolmoAct(config_from_dict(released_config(model)))
    found = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
    assert found == SHAPES[model]


def test_a_config_survives_writing_and_reading() -> None:
    config = load_config(GOLDEN / "o_tiny")
    assert config_from_dict(json.loads(json.dumps(config_to_dict(config)))) == config


def test_shards_load_like_one_file(folder: Path) -> None:
    whole = load_checkpoint(folder).model.state_dict()
    names = sorted(whole)
    halves = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, part in halves.items():
        save_file({name: whole[name].clone() for name in part}, folder / file)
    index = {"weight_map": {name: file for file, part in halves.items() for name in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model.safetensors").unlink()
    sharded = load_checkpoint(folder).model.state_dict()
    assert all(torch.equal(sharded[name], whole[name]) for name in names)
    (folder / "b.safetensors").unlink()
    with pytest.raises(CheckpointError, match="b.safetensors: shard is missing"):
        load_checkpoint(folder)


def test_an_index_cannot_point_outside_its_folder(folder: Path) -> None:
    index = {"weight_map": {"lm_head.weight": "../elsewhere.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="not a safetensors file of this folder"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("lm_head.weight"), "1 tensors are missing, first 'lm_head.weight'"),
        (lambda t: t.update(extra=torch.zeros(1)), "unknown tensor 'extra'"),
        (
            lambda t: t.update({"lm_head.weight": torch.zeros(3, 4)}),
            r"lm_head.weight has shape \[3, 4\], config.json asks for \[1536, 256\]",
        ),
        (
            lambda t: t.update({"lm_head.weight": torch.zeros(1536, 256, dtype=torch.int8)}),
            "expected floating point",
        ),
    ],
)
def test_a_wrong_tensor_is_named(folder: Path, change, message: str) -> None:
    _rewrite(folder, change)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(folder)


def test_a_damaged_weights_file_is_named(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match="model.safetensors: damaged"):
        load_checkpoint(folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "preprocessor_config.json"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name}: missing"):
        load_checkpoint(folder)


def test_weights_can_be_held_in_half_precision(folder: Path) -> None:
    model = load_model(folder, load_config(folder), dtype=torch.bfloat16)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        (None, "model_type", "molmoact2", "expected 'molmoact'"),
        (None, "image_patch_id", 5, "not among the additional vocabulary"),
        ("llm_config", "hidden_size", None, "llm_config.hidden_size is None"),
        ("llm_config", "rope_scaling", {"factor": 2}, "rope_scaling is set"),
        ("vit_config", "hidden_act", "mish", "'mish' unknown"),
        ("adapter_config", "vit_layers", [-9], "outside the ViT"),
        ("adapter_config", "text_hidden_size", 3, "text_hidden_size != llm"),
    ],
)
def test_a_config_for_another_network_is_refused(section, key, value, message: str) -> None:
    data = config_to_dict(load_config(GOLDEN / "d_tiny"))
    (data if section is None else data[section])[key] = value
    with pytest.raises(CheckpointError, match=message):
        config_from_dict(data)


def test_a_field_is_never_guessed() -> None:
    data = config_to_dict(load_config(GOLDEN / "d_tiny"))
    del data["vit_config"]["image_num_pos"]
    with pytest.raises(CheckpointError, match="vit_config.image_num_pos is missing"):
        config_from_dict(data)
