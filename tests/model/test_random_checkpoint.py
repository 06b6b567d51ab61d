"""Random weights stand in for released ones: the same layout, the same ids, no meaning."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from molmoact_ros.model.checkpoint import load_checkpoint
from molmoact_ros.model.config import CheckpointError
from molmoact_ros.model.nano_tokenizer import build_nano_tokenizer
from molmoact_ros.model.presets import PRESETS
from molmoact_ros.model.random_weights import (
    random_tensor,
    save_random_checkpoint,
    tensor_shapes,
)
from molmoact_ros.model.stand_in_tokenizer import extended_tokenizer, stand_in_tokenizer
from molmoact_ros.model.weight_files import read_table
from molmoact_ros.reasoning.answer import compose_answer
from molmoact_ros.reasoning.symbols import SYMBOLS


@pytest.mark.parametrize("name", ["small-d", "small-o"])
def test_a_small_checkpoint_has_the_parts_of_its_big_sister(name: str, tmp_path: Path) -> None:
    small, big = PRESETS[name](), PRESETS[f"7b{name[-2:]}"]()
    save_random_checkpoint(tmp_path, small, build_nano_tokenizer(), name, shard_bytes=9_000_000)
    loaded = load_checkpoint(tmp_path, dtype=None)
    assert loaded.config == small.config
    assert loaded.processor.settings == big.settings
    assert loaded.model.dtype == torch.bfloat16
    assert "RANDOM" in loaded.origin
    assert len({stored.path for stored in read_table(tmp_path).values()}) > 2

    def parts(shapes: dict) -> set[str]:
        return {".".join(p for p in name.split(".") if not p.isdigit()) for name in shapes}

    assert parts(tensor_shapes(small.config)) == parts(tensor_shapes(big.config))


def test_the_seed_decides_and_the_shards_do_not(tmp_path: Path) -> None:
    tokenizer, states = build_nano_tokenizer(), []
    for number, (seed, shard) in enumerate(((1, 10**9), (1, 6_000_000), (2, 10**9))):
        folder = tmp_path / str(number)
        preset = PRESETS["small-d"]()
        save_random_checkpoint(folder, preset, tokenizer, "x", seed, shard_bytes=shard)
        states.append(load_checkpoint(folder, dtype=None).model.state_dict())
    first, again, other = states
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["lm_head.weight"], other["lm_head.weight"])


def test_logits_are_large_and_depend_on_the_prompt(tmp_path: Path) -> None:
    """Greedy choices need a margin well above the steps of half precision."""
    save_random_checkpoint(tmp_path, PRESETS["small-d"](), build_nano_tokenizer(), "x")
    model = load_checkpoint(tmp_path).model
    ids = torch.randint(0, 1000, (4, 40), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        logits = model.logits(model.hidden(model.embed(ids))[:, -1])
    assert 5 < logits.std() < 12
    gaps = logits.topk(2).values.diff().abs()
    assert gaps.median() > 0.3
    assert len(set(logits.argmax(-1).tolist())) == 4


def test_norms_start_at_one_and_biases_at_zero() -> None:
    config = PRESETS["small-o"]().config
    for name, shape in tensor_shapes(config).items():
        value = random_tensor(name, shape, config, 0)
        assert value.shape == shape
        if name.endswith(".bias"):
            assert not value.any()
        elif "norm" in name or name.endswith(("ln_f.weight", "pre_ln.weight")):
            assert value.unique().numel() == 1 and value[0] >= 1
        elif "pad_embed" not in name:
            assert value.std() > 0


@pytest.mark.parametrize(
    ("size", "eos", "start"), [(152064, 151643, 151665), (100864, 100257, 100278)]
)
def test_the_stand_in_has_the_published_ids_and_no_symbol_is_one_token(
    size: int, eos: int, start: int
) -> None:
    """Else an engine would be measured on answers much shorter than real ones."""
    tokenizer = stand_in_tokenizer(size)
    assert (tokenizer.ids.eos, tokenizer.ids.depth_start, tokenizer.ids.im_start) == (
        eos, start, size,
    )  # fmt: skip
    costs = [len(tokenizer.encode(symbol)) for symbol in SYMBOLS]
    assert [costs.count(n) for n in (2, 3, 4)] == [12, 171, 73]
    answer = compose_answer(range(100), [[0, 255], [9, 100]], [[7, 250] * 3 + [255]] * 8, "multi")
    ids = tokenizer.encode(answer)
    assert tokenizer.decode(ids) == answer
    assert 400 < len(ids) < 640
    assert max(ids) < size


def test_vocabularies_of_other_sizes_have_no_stand_in(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no released vocabulary has 5000"):
        stand_in_tokenizer(5000)


def test_a_base_vocabulary_that_does_not_fit_is_named(nano_folder: Path) -> None:
    with pytest.raises(CheckpointError, match="tokenizer.json: .* tokens for 152064"):
        extended_tokenizer(nano_folder / "tokenizer.json", 152064)
    with pytest.raises(CheckpointError, match="not the base vocabulary"):
        extended_tokenizer(nano_folder / "config.json", 152064)
