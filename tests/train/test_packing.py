"""Several questions about one frame in one sequence must teach what each alone would teach."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from molmoact_ros.model.image_processor import ImageProcessor
from molmoact_ros.model.nano import nano_settings
from molmoact_ros.model.nano_tokenizer import build_nano_tokenizer
from molmoact_ros.reasoning.answer import compose_answer
from molmoact_ros.reasoning.prompts import chat_text, question
from molmoact_ros.train.batches import Batch, collate
from molmoact_ros.train.loss import Learner, segment_mask
from molmoact_ros.train.packed_attention import attend, packed_hidden
from molmoact_ros.train.packing import Packed, packed
from molmoact_ros.train.samples import Asked, TooLong, shortened, tokenised
from molmoact_ros.train.sizes import untrained
from molmoact_ros.train.targets import bin_tokens, misheard

sys.path.insert(0, str(Path(__file__).parent))
from train_helpers import tiny_config

TOKENIZER = build_nano_tokenizer(phrases=True)
PROCESSOR = ImageProcessor(nano_settings())


def questions(seed: int = 0, depth: bool = True) -> list[Asked]:
    rng = np.random.default_rng(seed)
    pictures = tuple(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8) for _ in range(2))
    codes = rng.integers(0, 128, 100)
    return [
        Asked(
            "reason",
            pictures,
            question(task, 2),
            compose_answer(
                codes if depth else None,
                rng.integers(0, 256, (points, 2)),
                rng.integers(0, 256, (8, 7)),
                "multi",
            ),
        )
        for task, points in (("lift the red cube", 5), ("move the blue cube onto the plate", 3))
    ]


def pack(made: list[Asked], longer: list[str] | None = None) -> Packed:
    answers = longer or [one.answer for one in made]
    return packed(made, answers, TOKENIZER, PROCESSOR, 4096)


def network() -> Learner:
    return Learner(untrained(tiny_config(), 0)).eval()


def losses(learner: Learner, batch: Batch) -> float:
    with torch.no_grad():
        return float(learner(batch)[1])


def test_a_pack_costs_what_its_questions_cost_alone() -> None:
    """A leak between segments, or other positions, would teach what driving never shows."""
    made, learner = questions(), network()
    alone = [collate([tokenised(one, TOKENIZER, PROCESSOR, 4096)]) for one in made]
    together = losses(learner, collate([pack(made)]))
    assert together == pytest.approx(sum(losses(learner, batch) for batch in alone), rel=1e-4)


def test_packs_of_different_lengths_share_a_batch_without_changing_each_other() -> None:
    learner = network()
    packs = [pack(questions(0)), pack(questions(1)[:1])]
    single = [losses(learner, collate([one])) for one in packs]
    assert losses(learner, collate(packs)) == pytest.approx(sum(single), rel=1e-4)


def test_segments_by_slots_and_by_one_mask_are_the_same_computation() -> None:
    """The quick way must be the plain definition, not something like it."""
    model = untrained(tiny_config(), 1)
    batch = collate([pack(questions(0)), pack(questions(1))])
    assert batch.segments is not None and batch.positions is not None
    with torch.no_grad():
        rows = model.embed(batch.ids, model.encode_images(batch.crops, batch.pooled))
        quick, *_ = packed_hidden(model.model.transformer, rows, batch.positions, batch.slots)
        plain = model.model.transformer(rows, batch.positions, segment_mask(batch.segments))
    real = batch.segments >= 0
    assert torch.allclose(quick[real], plain[real], atol=1e-4)


def test_an_answer_without_depth_keeps_the_positions_of_a_whole_one() -> None:
    """Trace and actions would otherwise move by a hundred places when the depth comes back."""
    whole, bare = questions(), questions(depth=False)
    short = pack(bare[:1], [whole[0].answer])
    full = pack(whole[:1])
    assert short.ids[short.learned][-20:].tolist() == full.ids[full.learned][-20:].tolist()
    assert short.position[-1] == full.position[-1]
    assert len(short.ids) < len(full.ids) - 100


def test_a_shortened_answer_stops_after_whole_rows_and_does_not_end() -> None:
    """An end token there would teach chunks of two rows."""
    made = questions()[0]
    short = shortened(made, 2)
    assert made.answer.startswith(short.answer)
    assert short.answer.rsplit("[[", 1)[1].count("], [") == 2
    assert not short.ends
    assert shortened(made, 8) == made
    one = pack([short], [short.answer])
    assert TOKENIZER.ids.eos not in one.ids[one.learned]


def test_misheard_bins_are_read_but_never_taught() -> None:
    """The targets stay what the expert said; words, depth and coordinates are heard as they are."""
    one, bins = pack(questions()), bin_tokens(TOKENIZER)
    heard = misheard(one.ids, one.learned, bins, 4.0, np.random.default_rng(0))
    changed = np.flatnonzero(heard != one.ids)
    assert len(changed) > 50 and one.learned[changed].all()
    place = {token: index for index, token in enumerate(bins)}
    moves = [place[int(heard[i])] - place[int(one.ids[i])] for i in changed]
    assert 2.0 < float(np.std(moves)) < 6.0
    clean, noisy = collate([one]), collate([replace(one, heard=heard)])
    assert torch.equal(clean.targets, noisy.targets)
    assert int((clean.ids != noisy.ids).sum()) == len(changed)


def test_too_many_questions_are_refused_with_what_to_change() -> None:
    made = questions()
    with pytest.raises(TooLong, match="set pack lower"):
        packed(made, [one.answer for one in made], TOKENIZER, PROCESSOR, 300)


def test_attention_as_products_equals_the_librarys() -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 3, n, 8, requires_grad=True) for n in (5, 9, 9))
    mask = torch.ones(5, 9, dtype=torch.bool).tril(4)
    own = attend(q, k, v, mask)
    other = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    assert torch.allclose(own, other, atol=1e-5)
    (slope,) = torch.autograd.grad(own.square().sum(), q)
    (wanted,) = torch.autograd.grad(other.square().sum(), q)
    assert torch.allclose(slope, wanted, atol=1e-4)


def test_fixed_wording_is_a_token_a_piece_and_reads_back() -> None:
    plain = build_nano_tokenizer()
    for made in questions():
        text = f"{chat_text(made.question)}{made.answer}"
        assert TOKENIZER.decode(TOKENIZER.encode(text)) == text
        assert len(TOKENIZER.encode(text)) < len(plain.encode(text)) - 100
