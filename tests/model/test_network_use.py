"""Ways of running the network that must not change its answers, and misuse it must refuse."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers.cache_utils import DynamicCache

from molmoact_ros.model.checkpoint import load_model
from molmoact_ros.model.config import load_config
from molmoact_ros.model.molmoact import MolmoAct

GOLDEN = Path(__file__).resolve().parents[1] / "golden/models"


@pytest.fixture(scope="module", params=["d_tiny", "o_tiny"])
def model(request: pytest.FixtureRequest) -> MolmoAct:
    folder = GOLDEN / request.param
    return load_model(folder, load_config(folder))


@pytest.fixture(scope="module")
def ids() -> torch.Tensor:
    return torch.randint(4, 300, (1, 24), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("cuts", [(24,), (1,) * 24, (10, 1, 5, 8)])
def test_reading_in_pieces_gives_the_same_states(model, ids, cuts) -> None:
    """Certain text is read several tokens at a time behind a cache."""
    expected = model.hidden(model.embed(ids))
    cache = DynamicCache()
    parts = [model.hidden(model.embed(part), cache) for part in ids.split(cuts, dim=1)]
    assert torch.allclose(torch.cat(parts, dim=1), expected, atol=1e-4)
    assert cache.get_seq_length() == ids.shape[1]


def test_forgetting_tokens_gives_the_state_before_them(model, ids) -> None:
    cache = DynamicCache()
    model.hidden(model.embed(ids[:, :10]), cache)
    first = model.hidden(model.embed(ids[:, 10:12]), cache)
    cache.crop(-2)
    assert torch.allclose(model.hidden(model.embed(ids[:, 10:12]), cache), first, atol=1e-6)


def test_padding_on_the_left_changes_nothing(model, ids) -> None:
    padded = torch.cat([torch.zeros(1, 5, dtype=torch.long), ids], dim=1)
    mask = torch.ones_like(padded)
    mask[:, :5] = 0
    found = model.hidden(model.embed(padded), attention_mask=mask)
    assert torch.isfinite(found).all()
    assert torch.allclose(found[:, 5:], model.hidden(model.embed(ids)), atol=1e-4)


def test_equal_crops_encoded_once_give_the_same_features(model) -> None:
    vit = model.config.vit
    crop = torch.rand(1, vit.grid[0] * vit.grid[1], vit.patch_values) * 2 - 1
    crops = torch.cat([crop, crop, crop.flip(1)])
    pooled = torch.randint(0, crops.shape[0] * crops.shape[1], (20, 4))
    once = model.encode_images(crops, pooled, same_as=torch.tensor([0, 0, 2]))
    assert torch.allclose(once, model.encode_images(crops, pooled), atol=1e-5)


def test_features_and_patch_tokens_must_agree(model, ids) -> None:
    prompt = ids.clone()
    prompt[0, 3:5] = model.config.image_patch_id
    width = model.config.llm.hidden_size
    with pytest.raises(ValueError, match="2 image-patch tokens but there are 3"):
        model.embed(prompt, torch.zeros(3, width))
    with pytest.raises(ValueError, match="2 image-patch tokens but there are 0"):
        model.embed(prompt)


def test_features_are_added_to_the_token_embedding(model, ids) -> None:
    """Replacing instead of adding changes every answer slightly."""
    prompt = ids.clone()
    prompt[0, 3] = model.config.image_patch_id
    zero = model.embed(prompt, torch.zeros(1, model.config.llm.hidden_size))
    one = model.embed(prompt, torch.ones(1, model.config.llm.hidden_size))
    assert torch.allclose(one[0, 3], zero[0, 3] + 1)
    assert zero[0, 3].abs().sum() > 0


def test_more_tokens_than_the_model_can_hold_are_refused(model, ids) -> None:
    limit = model.config.llm.max_position_embeddings
    many = ids[:, :1].expand(1, limit + 1)
    with pytest.raises(ValueError, match=f"{limit + 1} tokens exceed the {limit}"):
        model.hidden(model.embed(many))
