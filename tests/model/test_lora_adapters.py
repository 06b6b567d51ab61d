"""An adapter of the original trainer changes exactly the layers it was trained for."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from molmoact_ros.model.checkpoint import load_model
from molmoact_ros.model.config import CheckpointError, load_config
from molmoact_ros.model.lora import load_adapter, merge_adapter, released_name
from molmoact_ros.model.molmoact import MolmoAct
from molmoact_ros.model.presets import PRESETS

GOLDEN = Path(__file__).resolve().parents[1] / "golden/models"
BLOCK = "model.transformer.blocks.1"
LAYER = f"{BLOCK}.self_attn.att_proj"


@pytest.fixture
def model() -> MolmoAct:
    return load_model(GOLDEN / "d_tiny", load_config(GOLDEN / "d_tiny"))


def adapter(folder: Path, halves: dict[str, torch.Tensor], **settings) -> Path:
    folder.mkdir(exist_ok=True)
    save_file(halves, folder / "adapter_model.safetensors")
    table = {"peft_type": "LORA", "r": 2, "lora_alpha": 1} | settings
    (folder / "adapter_config.json").write_text(json.dumps(table))
    return folder


def pair(model: MolmoAct, layer: str, name: str, seed: int = 0) -> dict[str, torch.Tensor]:
    out, wide = model.get_submodule(layer).weight.shape
    make = torch.Generator().manual_seed(seed)
    return {
        f"{name}.lora_A.weight": torch.randn(2, wide, generator=make),
        f"{name}.lora_B.weight": torch.randn(out, 2, generator=make),
    }


def in_training_layout(name: str) -> str:
    """A released module name as the original trainer spells it (model description, section 3)."""
    if name == "lm_head":
        return "transformer.ff_out"
    return re.sub(r"(blocks\.\d+)\.(self_attn|mlp)\.", r"\1.", name.removeprefix("model."))


@pytest.mark.parametrize("preset", ["7b-d", "7b-o"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_every_layer_of_a_released_model_is_found_by_its_name_in_training(
    preset: str, wrapped: bool
) -> None:
    with torch.device("meta"):
        network = MolmoAct(PRESETS[preset]().config)
    names = [n for n, m in network.named_modules() if isinstance(m, torch.nn.Linear)]
    spelled = [in_training_layout(name) for name in names]
    assert len(set(spelled)) == len(names) > 200
    for name, there in zip(names, spelled, strict=True):
        if wrapped:
            there = there.replace("blocks.", "blocks._fsdp_wrapped_module.").replace(
                ".w1", "._checkpoint_wrapped_module.w1"
            )
            there = f"base_model.model._fsdp_wrapped_module.{there}"
        assert released_name(there) == name
        assert released_name(name) == name


def test_merging_adds_the_scaled_product_to_this_layer_only(
    model: MolmoAct, tmp_path: Path
) -> None:
    halves = pair(model, LAYER, "base_model.model.transformer.blocks.1.att_proj")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert merge_adapter(model, load_adapter(adapter(tmp_path / "a", halves))) == 1
    a, b = halves.values()
    for name, value in model.state_dict().items():
        expected = before[name] + 0.5 * (b @ a) if name == f"{LAYER}.weight" else before[name]
        assert torch.allclose(value, expected, atol=1e-6), name


def test_both_spellings_give_the_same_model(tmp_path: Path) -> None:
    merged = []
    for number, name in enumerate((LAYER, "transformer.blocks.1._fsdp_wrapped_module.att_proj")):
        network = load_model(GOLDEN / "d_tiny", load_config(GOLDEN / "d_tiny"))
        halves = pair(network, LAYER, f"base_model.model.{name}")
        merge_adapter(network, load_adapter(adapter(tmp_path / str(number), halves)))
        merged.append(network.get_submodule(LAYER).weight)
    assert torch.equal(*merged)


def test_the_checkpoint_file_is_not_changed(model: MolmoAct, tmp_path: Path) -> None:
    """Weights are mapped from the file; writing into them must never reach the disk."""
    file = GOLDEN / "d_tiny/model.safetensors"
    stored = load_file(file)["lm_head.weight"].clone()
    halves = pair(model, "lm_head", "transformer.ff_out")
    merge_adapter(model, load_adapter(adapter(tmp_path / "a", halves)))
    assert torch.equal(load_file(file)["lm_head.weight"], stored)
    assert not torch.equal(model.lm_head.weight, stored)


def test_rank_stabilised_scaling_is_understood(model: MolmoAct, tmp_path: Path) -> None:
    halves = pair(model, LAYER, LAYER)
    folder = adapter(tmp_path / "a", halves, use_rslora=True)
    assert load_adapter(folder).scale == pytest.approx(2**-0.5)


def test_vision_blocks_that_are_never_used_are_skipped(model: MolmoAct, tmp_path: Path) -> None:
    """Training keeps all blocks of the ViT, a checkpoint only those whose output is read."""
    last = model.config.vit.num_hidden_layers - 1
    assert last >= model.config.vit_blocks
    name = "vision_backbone.image_vit.transformer.resblocks.{}.attention.wq"
    halves = pair(model, "model." + name.format(0), name.format(0))
    halves |= {key.replace("blocks.0", f"blocks.{last}"): t for key, t in halves.items()}
    halves = {key: tensor.clone() for key, tensor in halves.items()}
    assert merge_adapter(model, load_adapter(adapter(tmp_path / "a", halves))) == 1


@pytest.mark.parametrize(
    ("change", "settings", "words"),
    [
        ({"x.lora_A.weight": torch.zeros(2, 4)}, {}, "halves of x do not fit"),
        ({"lm_head.modules_to_save.weight": torch.zeros(2, 4)}, {}, "is no half of a LoRA pair"),
        ({}, {"r": 3}, "tensors have rank \\[2\\]"),
        ({}, {"lora_alpha": None}, "lora_alpha None"),
        ({}, {"use_dora": True}, "use_dora is not understood"),
    ],
)
def test_a_damaged_adapter_is_named(
    model: MolmoAct, tmp_path: Path, change: dict, settings: dict, words: str
) -> None:
    halves = pair(model, LAYER, LAYER) | change
    with pytest.raises(CheckpointError, match=words):
        load_adapter(adapter(tmp_path / "a", halves, **settings))


def test_an_adapter_of_another_model_is_refused_and_changes_nothing(
    model: MolmoAct, tmp_path: Path
) -> None:
    good = pair(model, "lm_head", "lm_head")
    before = model.lm_head.weight.clone()
    for name, words in ((f"{BLOCK}.mlp.gate_proj", "none of that name"), (LAYER, "a layer of")):
        other = {
            f"{name}.lora_A.weight": torch.zeros(2, 5),
            f"{name}.lora_B.weight": torch.zeros(6, 2),
        }
        with pytest.raises(CheckpointError, match=words):
            merge_adapter(model, load_adapter(adapter(tmp_path / "a", good | other)))
    assert torch.equal(model.lm_head.weight, before)


def test_missing_files_are_named(model: MolmoAct, tmp_path: Path) -> None:
    folder = adapter(tmp_path / "a", pair(model, LAYER, LAYER))
    (folder / "adapter_model.safetensors").write_bytes(b"no")
    with pytest.raises(CheckpointError, match="adapter_model.safetensors: damaged"):
        load_adapter(folder)
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="adapter_model.safetensors: missing"):
        load_adapter(folder)
    (folder / "adapter_config.json").unlink()
    with pytest.raises(CheckpointError, match="adapter_config.json: missing"):
        load_adapter(folder)
