"""A folder loads completely or not at all; an error names the file, the tensor and the remedy."""

from __future__ import annotations

import json
import shutil
from math import prod
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from molmoact_ros.model.checkpoint import load_checkpoint, save_weights
from molmoact_ros.model.config import (
    CheckpointError,
    config_from_dict,
    config_to_dict,
    load_config,
)
from molmoact_ros.model.presets import PRESETS
from molmoact_ros.model.random_weights import tensor_shapes
from molmoact_ros.model.weight_files import read_table

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


@pytest.mark.parametrize("model", ["D", "O"])
def test_the_7b_networks_have_exactly_the_tensors_of_state_dict_shapes_7b(model: str) -> None:
    """One name or shape off and a released checkpoint would not load."""
    preset = PRESETS[f"7b-{model.lower()}"]().config
    # Through the file's own format, as a released config.json arrives.
    config = config_from_dict(json.loads(json.dumps(config_to_dict(preset))))
    found = {name: list(shape) for name, shape in tensor_shapes(config).items()}
    assert found.keys() == SHAPES[model].keys()
    wrong = {name: shape for name, shape in found.items() if shape != SHAPES[model][name]}
    assert not wrong
    numbers = sum(prod(shape) for shape in found.values())
    assert (len(found), round(numbers / 1e9, 3)) == {"D": (614, 8.119), "O": (629, 7.657)}[model]


def test_a_config_survives_writing_and_reading() -> None:
    config = load_config(GOLDEN / "o_tiny")
    assert config_from_dict(json.loads(json.dumps(config_to_dict(config)))) == config


def _sharded(folder: Path) -> dict[str, str]:
    """Save the folder's weights again in shards; gives the index' weight_map."""
    model = load_checkpoint(folder, dtype=None).model
    save_weights(folder, model, shard_bytes=4_000_000)
    return json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]


def test_shards_load_like_one_file(folder: Path) -> None:
    whole = load_checkpoint(folder).model.state_dict()
    weight_map = _sharded(folder)
    assert not (folder / "model.safetensors").exists()
    assert len(set(weight_map.values())) > 3
    sharded = load_checkpoint(folder).model.state_dict()
    assert all(torch.equal(sharded[name], whole[name]) for name in whole)
    # Whoever mapped the old file keeps it, though its name is gone.
    assert torch.isfinite(whole["lm_head.weight"]).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_load_save_load_keeps_every_byte(folder: Path, tmp_path: Path, dtype: torch.dtype) -> None:
    """A fine-tuned checkpoint that drifts with every save could not be compared with itself."""
    _rewrite(folder, lambda t: t.update({name: value.to(dtype) for name, value in t.items()}))
    before = load_file(folder / "model.safetensors")
    for shard_bytes, files in ((10**9, 1), (5_000_000, None)):
        again = tmp_path / f"again_{shard_bytes}"
        save_weights(again, load_checkpoint(folder, dtype=None).model, shard_bytes=shard_bytes)
        (again / "config.json").write_bytes((folder / "config.json").read_bytes())
        table = read_table(again)
        assert files is None or len({stored.path for stored in table.values()}) == files
        after = {n: t for path in again.glob("*.safetensors") for n, t in load_file(path).items()}
        assert after.keys() == before.keys()
        for name, tensor in before.items():
            assert after[name].dtype == dtype
            assert torch.equal(after[name].view(torch.uint8), tensor.view(torch.uint8)), name


def test_a_folder_written_here_is_complete(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    wanted = {"config.json", "preprocessor_config.json", "tokenizer.json", "model.safetensors"}
    assert names == {*wanted, "generation_config.json", "README.md"}
    ids = json.loads((folder / "generation_config.json").read_text())
    assert ids["eos_token_id"] == load_checkpoint(folder).tokenizer.ids.eos


def test_weights_in_the_wanted_precision_are_mapped_and_others_converted(folder: Path) -> None:
    """Mapped weights cost no memory before they are read; a copy of 7B would cost 15 GiB."""
    stored = load_checkpoint(folder).model.lm_head.weight
    maps = Path("/proc/self/maps").read_text()
    mapped = [line for line in maps.splitlines() if line.endswith("nano/model.safetensors")]
    spans = [[int(x, 16) for x in line.split()[0].split("-")] for line in mapped]
    assert any(start <= stored.data_ptr() < end for start, end in spans)
    half = load_checkpoint(folder, dtype=torch.bfloat16).model.lm_head.weight
    assert torch.equal(half, stored.bfloat16())


def test_loading_says_how_far_it_is(folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    load_checkpoint(folder, progress=lambda done, total: seen.append((done, total)))
    size = sum(t.numel() * 4 for t in load_file(folder / "model.safetensors").values())
    assert seen[-1] == (size, size)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert len(seen) == len(load_file(folder / "model.safetensors"))


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
            "lm_head.weight is stored as I8, expected one of F32, BF16, F16",
        ),
    ],
)
def test_a_wrong_tensor_is_named(folder: Path, change, message: str) -> None:
    _rewrite(folder, change)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(folder)


def test_a_truncated_shard_names_the_first_tensor_that_is_cut(folder: Path) -> None:
    """The usual end of a download; "invalid header" would send people looking elsewhere."""
    weight_map = _sharded(folder)
    shard = folder / sorted(set(weight_map.values()))[1]
    data = shard.read_bytes()
    shard.write_bytes(data[:-100])
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(folder)
    words = str(caught.value)
    assert f"{shard.name}: cut off after {len(data) - 100} bytes" in words
    assert any(words.split("bytes, ")[1].startswith(name) for name in weight_map)
    assert "download it again" in words


@pytest.mark.parametrize("content", [b"", b"\x08", b"\xff" * 64, b"\x02\0\0\0\0\0\0\0[]" * 9])
def test_a_file_that_is_no_weights_file_is_named(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match="model.safetensors: damaged"):
        load_checkpoint(folder)


def test_a_missing_shard_is_named(folder: Path) -> None:
    shard = sorted(set(_sharded(folder).values()))[-1]
    (folder / shard).unlink()
    with pytest.raises(CheckpointError, match=f"{shard}: shard is missing"):
        load_checkpoint(folder)


def test_a_tensor_that_its_shard_lost_is_named_with_the_shard(folder: Path) -> None:
    shard = folder / _sharded(folder)["lm_head.weight"]
    tensors = load_file(shard)
    del tensors["lm_head.weight"]
    save_file({**tensors, "x": torch.zeros(1)}, shard)
    with pytest.raises(CheckpointError, match=f"{shard.name}: lm_head.weight is missing"):
        load_checkpoint(folder)


def test_a_tensor_in_two_shards_is_named(folder: Path) -> None:
    weight_map = _sharded(folder)
    first, last = sorted(set(weight_map.values()))[0], sorted(set(weight_map.values()))[-1]
    name = next(name for name, file in weight_map.items() if file == last)
    tensors = load_file(folder / first)
    save_file({**tensors, name: load_file(folder / last)[name]}, folder / first)
    with pytest.raises(CheckpointError, match=f"{name} is in {first} as well"):
        load_checkpoint(folder)


def test_a_foreign_config_names_file_and_finding(folder: Path) -> None:
    """Another model's folder, as it lies in the same cache."""
    qwen = {"model_type": "qwen2", "hidden_size": 896, "architectures": ["Qwen2ForCausalLM"]}
    (folder / "config.json").write_text(json.dumps(qwen))
    with pytest.raises(CheckpointError, match="config.json: model_type is 'qwen2', expected 'molm"):
        load_checkpoint(folder)


def test_the_config_of_another_molmoact_names_the_first_tensor_that_does_not_fit(
    folder: Path,
) -> None:
    data = json.loads((folder / "config.json").read_text())
    data["llm_config"]["intermediate_size"] += 64
    (folder / "config.json").write_text(json.dumps(data))
    with pytest.raises(CheckpointError, match="safetensors: model.transformer.*ff_.* has shape"):
        load_checkpoint(folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "preprocessor_config.json"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name}: missing"):
        load_checkpoint(folder)


def test_weights_can_be_held_in_half_precision(folder: Path) -> None:
    model = load_checkpoint(folder, dtype=torch.bfloat16).model
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
