"""The network computes what the original program computes, layer by layer, for both families.

Tolerances (float32): ViT 2e-4, image features 3e-4, logits 2e-3; greedy ids exactly.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers.cache_utils import DynamicCache

from molmoact_ros.model.checkpoint import load_model
from molmoact_ros.model.config import load_config
from molmoact_ros.model.image_processor import ImageProcessor
from molmoact_ros.model.image_settings import settings_from_dict
from molmoact_ros.model.molmoact import MolmoAct
from molmoact_ros.model.prompt import image_ids
from molmoact_ros.model.tokenizer import SpecialIds

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (ROOT / "tests/golden/models", ROOT.parent / "shared/golden/models")
CASES = {
    f"{path.parent.name}/{path.stem}": path
    for folder in reversed(FOLDERS)
    for path in folder.glob("*/*.npz")
}
WITH_PICTURES = sorted(name for name in CASES if not name.endswith("text_only"))
Data = dict[str, np.ndarray]


@dataclass
class Inside:
    """What passes between the parts of a network while it runs."""

    vit: list[torch.Tensor] = field(default_factory=list)
    llm: list[torch.Tensor] = field(default_factory=list)
    pool: dict[str, torch.Tensor] = field(default_factory=dict)
    embeds: torch.Tensor | None = None
    final: torch.Tensor | None = None


@dataclass
class Case:
    model: MolmoAct
    data: Data
    inside: Inside
    preprocessor: dict


@pytest.fixture
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    path = CASES[request.param]
    config = load_config(path.parent)
    model = load_model(path.parent, config)
    inside = Inside()
    for block in model.model.vision_backbone.image_vit.transformer.resblocks:
        block.register_forward_hook(lambda _m, _i, out: inside.vit.append(out))
    for block in model.model.transformer.blocks:
        block.register_forward_hook(lambda _m, args, _o: inside.llm.append(args[0]))
    model.model.transformer.ln_f.register_forward_hook(
        lambda _m, _i, out: setattr(inside, "final", out)
    )
    model.model.transformer.wte.register_forward_hook(
        lambda _m, _i, out: setattr(inside, "embeds", out.clone())
    )
    model.model.vision_backbone.image_pooling_2d.register_forward_hook(
        lambda _m, args, out: inside.pool.update(query=args[0], kv=args[1], out=out)
    )
    preprocessor = json.loads((path.parent / "preprocessor.json").read_text())
    with torch.inference_mode():
        yield Case(model, dict(np.load(path)), inside, preprocessor)


def _crops(data: Data) -> np.ndarray:
    if "in_images" in data:
        return data["in_images"]
    levels = data["in_images_u8"].astype(np.float32)
    return np.float32(-1) + np.float32(2) * (levels / np.float32(255))


def _features(case: Case, *, masks: bool = False) -> torch.Tensor | None:
    if "in_pooled_patches_idx" not in case.data:
        return None
    crops = _crops(case.data)
    rows, per_row, patches, _ = crops.shape
    index = case.data["in_pooled_patches_idx"].astype(np.int64)
    offset = np.arange(rows)[:, None, None] * per_row * patches
    index = np.where(index >= 0, index + offset, index).reshape(-1, 4)
    mask = torch.from_numpy(case.data["in_image_masks"]).flatten(0, 1) if masks else None
    return case.model.encode_images(
        torch.from_numpy(crops).flatten(0, 1), torch.from_numpy(index), masks=mask
    )


def _close(found: torch.Tensor | np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    found = np.asarray(found)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance


@pytest.mark.parametrize("case", WITH_PICTURES, indirect=True)
def test_vision_matches_the_recording(case: Case) -> None:
    features, data = _features(case), case.data
    assert len(case.inside.vit) == case.model.config.vit_blocks
    for number, block in enumerate(case.inside.vit):
        _close(block, data[f"vit_block_{number}"], 2e-4)
    valid = (data["in_pooled_patches_idx"] >= 0).any(-1).reshape(-1)
    for name in ("kv", "query", "out"):
        if f"pool_{name}" in data:
            _close(case.inside.pool[name], data[f"pool_{name}"][valid], 3e-4)
    if "projector_out" in data:
        expected = data["projector_out"].reshape(-1, features.shape[-1])
        _close(features, expected[valid], 3e-4)
    _close(features, data["image_features"], 3e-4)


@pytest.mark.parametrize("case", [n for n in WITH_PICTURES if n.startswith("o_")], indirect=True)
def test_padding_embedding_is_added_only_when_masks_are_passed(case: Case) -> None:
    """Training adds it, released inference does not; both must be reproducible."""
    expected = case.data["image_features_with_pad_embed"]
    _close(_features(case, masks=True), expected, 3e-4)
    difference = np.abs(case.data["image_features"] - expected).max()
    assert difference == 0 or np.abs(_features(case).numpy() - expected).max() > 1e-3


@pytest.mark.parametrize("case", sorted(CASES), indirect=True)
def test_language_model_matches_the_recording(case: Case) -> None:
    data = case.data
    ids, mask = torch.from_numpy(data["in_input_ids"]).long(), data["in_attention_mask"] == 1
    embeddings = case.model.embed(ids, _features(case))
    hidden = case.model.hidden(embeddings, attention_mask=torch.from_numpy(mask))
    if "token_embeds" in data:
        _close(case.inside.embeds.numpy()[mask], data["token_embeds"][mask], 1e-6)
    states = [*case.inside.llm, case.inside.final]
    for number, state in enumerate(states):
        _close(state.numpy()[mask], data[f"llm_hidden_{number}"][mask], 2e-3)
    positions = data.get("logits_positions", np.arange(ids.shape[1]))
    logits = case.model.logits(hidden[:, positions]).numpy()
    _close(logits[mask[:, positions]], data["logits"][mask[:, positions]], 2e-3)


@pytest.mark.parametrize("case", WITH_PICTURES, indirect=True)
def test_forty_greedy_steps_with_cache_choose_the_recorded_tokens(case: Case) -> None:
    data, model = case.data, case.model
    ids = torch.from_numpy(data["in_input_ids"]).long()
    mask = torch.from_numpy(data["in_attention_mask"])
    expected = data["generated_ids"]
    cache = DynamicCache()
    hidden = model.hidden(model.embed(ids, _features(case)), cache, mask)
    for step in range(expected.shape[1]):
        logits = model.logits(hidden[:, -1])
        chosen = logits.argmax(-1)
        assert chosen.tolist() == expected[:, step].tolist(), f"step {step}"
        if "generated_logits" in data:
            _close(logits, data["generated_logits"][:, step], 2e-3)
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
        hidden = model.hidden(model.embed(chosen[:, None]), cache, mask)  # type: ignore[arg-type]


@pytest.mark.parametrize("case", WITH_PICTURES, indirect=True)
def test_pictures_of_the_case_become_its_inputs(case: Case) -> None:
    """The network above is fed from recordings; here the same inputs come from our processor."""
    data, settings = case.data, case.preprocessor
    processor = ImageProcessor(settings_from_dict(settings, case.model.config.vit))
    special = settings["special_ids"]
    ids = SpecialIds(
        special["bos"], special["bos"], 0, 0, 0,
        special["im_start"], special["im_end"], special["im_patch"], special["im_col"],
    )  # fmt: skip
    for row, multi in enumerate(data["in_row_is_multi"].tolist()):
        own = [k for k, of in enumerate(data["in_rgb_row"].tolist()) if of == row]
        out = processor([data[f"in_rgb_{k}"] for k in own], multi=multi)
        crops, tokens = len(out.crops), len(out.pooled_patches)
        assert np.abs(out.crops - _crops(data)[row, :crops]).max() <= 2e-6
        assert (data["in_pooled_patches_idx"][row, tokens:] == -1).all()
        assert np.array_equal(out.pooled_patches, data["in_pooled_patches_idx"][row, :tokens])
        assert np.array_equal(out.masks, data["in_image_masks"][row, :crops])
        assert np.array_equal(out.grids, data["in_image_grids"][row, : len(out.grids)])
        words = [[7, 8, 10 + k] for k in range(len(own))] if multi else None
        expected = [special["bos"], *image_ids(ids, out.kinds, words)]
        read = data["in_input_ids"][row][data["in_attention_mask"][row] == 1]
        assert read[: len(expected)].tolist() == expected
