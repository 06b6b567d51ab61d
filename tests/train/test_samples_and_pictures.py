"""What the network is shown and taught, kind by kind."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from molmoact_ros.data.dataset import DataSet, Tick
from molmoact_ros.engine.answers import AnswerShape, answer_automaton, wordings_for
from molmoact_ros.engine.grammar import AnswerGrammar, Vocabulary
from molmoact_ros.model.image_processor import ImageProcessor
from molmoact_ros.model.nano import nano_settings
from molmoact_ros.model.nano_tokenizer import build_nano_tokenizer
from molmoact_ros.reasoning.answer import AnswerContract, parse_answer, read_answer
from molmoact_ros.reasoning.overlay import draw_trace
from molmoact_ros.reasoning.prompts import question
from molmoact_ros.train.augment import (
    Crop,
    centre_crop,
    cropped,
    jittered,
    moved_trace,
    random_crop,
)
from molmoact_ros.train.batches import collate
from molmoact_ros.train.recipe import PRESETS, BadRecipe, Recipe, changed
from molmoact_ros.train.samples import (
    TooLong,
    asked,
    draw_kind,
    shortened,
    tokenised,
    varied,
    without_duplicates,
)

sys.path.insert(0, str(Path(__file__).parent))
from train_helpers import make_data

TOKENIZER, PROCESSOR = build_nano_tokenizer(), ImageProcessor(nano_settings())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    return DataSet(make_data(tmp_path_factory.mktemp("data"), 2, 16), "")


@pytest.fixture
def tick(data: DataSet) -> Tick:
    return data.tick(0)


def test_a_reasoning_answer_is_what_the_robots_parser_reads(data: DataSet, tick: Tick) -> None:
    """The wording of the public fine-tuning loader is one the released weights never saw."""
    made = asked(tick, data.card, "reason")
    thought = parse_answer(made.answer, AnswerContract(data.statistics))
    assert made.question == question(tick.instruction, 2)
    assert "left end effector" not in made.answer
    assert thought.depth is not None and np.array_equal(thought.depth.reshape(-1), tick.depth)
    assert np.array_equal(thought.trace, tick.trace)


@pytest.mark.parametrize("chunk", [1, 8])
@pytest.mark.parametrize("kind", ["reason", "act"])
@pytest.mark.parametrize("depth", [True, False])
def test_what_is_taught_is_what_the_robots_grammar_lets_pass(
    data: DataSet, tick: Tick, chunk: int, kind: str, depth: bool
) -> None:
    """An answer of one action is a flat list; a network taught otherwise is forced off its way."""
    card = replace(data.card, chunk=chunk)
    short = replace(tick, bins=tick.bins[:chunk], depth=tick.depth if depth else None)
    steered = kind == "act"
    shape = AnswerShape(wordings_for(2, steered), rows=chunk, depth_codes=100, depth=depth)
    grammar = AnswerGrammar(TOKENIZER, answer_automaton(shape, TOKENIZER), Vocabulary(TOKENIZER))
    state = grammar.start
    for token in [*TOKENIZER.encode(asked(short, card, kind).answer), TOKENIZER.ids.eos]:
        state = grammar.advance(state, token)
    assert grammar.done(state)
    assert shortened(asked(short, card, kind), 1).ends == (chunk == 1)


def test_a_steering_sample_shows_the_trace_and_asks_for_actions_only(
    data: DataSet, tick: Tick
) -> None:
    made = asked(tick, data.card, "steer")
    assert tick.trace is not None
    assert np.array_equal(made.pictures[0], draw_trace(tick.pictures[0], tick.trace))
    assert np.array_equal(made.pictures[1], tick.pictures[1])
    contract = AnswerContract(data.statistics, steered=True)
    assert np.array_equal(read_answer(made.answer, contract).bins, tick.bins)


def test_kinds_are_drawn_by_their_shares_and_only_where_labels_exist(tick: Tick) -> None:
    recipe = replace(PRESETS["nano-cpu"], reason=0.5, steer=0.5)
    rng = np.random.default_rng(0)
    drawn = [draw_kind(tick, recipe, rng) for _ in range(400)]
    assert 0.4 < drawn.count("reason") / 400 < 0.6
    assert draw_kind(replace(tick, trace=None), recipe, rng) == "act"


def test_only_the_answer_and_its_end_are_learned(data: DataSet, tick: Tick) -> None:
    sample = tokenised(asked(tick, data.card, "reason"), TOKENIZER, PROCESSOR, 2048)
    batch = collate([sample])
    learned = batch.targets[0][batch.targets[0] >= 0].tolist()
    assert learned == sample.ids[sample.answer :].tolist()
    assert learned[-1] == TOKENIZER.ids.eos
    assert TOKENIZER.decode(learned) == asked(tick, data.card, "reason").answer


def test_a_batch_keeps_every_samples_own_pictures(data: DataSet) -> None:
    samples = [
        tokenised(asked(data.tick(i), data.card, kind), TOKENIZER, PROCESSOR, 2048)
        for i, kind in enumerate(("reason", "steer"))
    ]
    batch = collate(samples)
    assert batch.ids.shape[1] % 64 == 0
    patches = batch.crops.shape[1]
    second = batch.pooled[len(samples[0].pooled) :]
    assert second[second >= 0].min() >= len(samples[0].crops) * patches
    assert len(batch.crops) == 4, "equal crops must be encoded once"


def test_crops_that_are_equal_are_kept_once_and_renumbered() -> None:
    crops = np.arange(3 * 2 * 1, dtype=np.float32).reshape(3, 2, 1)
    pooled = np.array([[0, 1, 2, 5], [4, -1, 3, 0]], np.int32)
    kept, numbers = without_duplicates(crops, pooled, np.array([0, 0, 2]))
    assert kept.shape[0] == 2
    assert numbers.tolist() == [[0, 1, 0, 3], [2, -1, 1, 0]]


def test_an_answer_that_does_not_fit_is_refused(data: DataSet, tick: Tick) -> None:
    with pytest.raises(TooLong, match="smaller pictures"):
        tokenised(asked(tick, data.card, "reason"), TOKENIZER, PROCESSOR, 200)


def test_auxiliary_samples_hold_depth_or_trace_alone(data: DataSet, tick: Tick) -> None:
    assert "<DEPTH_START>" in asked(tick, data.card, "depth").answer
    assert "[[" not in asked(tick, data.card, "depth").answer
    assert "[[" in asked(tick, data.card, "trace").answer


def test_a_random_crop_keeps_the_aspect_and_goes_everywhere() -> None:
    """The public loader asks for a square: 4:3 pictures always lose the same quarter."""
    rng = np.random.default_rng(0)
    crops = [random_crop(rng, 0.9) for _ in range(200)]
    assert {round(c.side**2, 6) for c in crops} == {0.9}
    assert np.std([c.left for c in crops]) > 0.01
    picture = np.zeros((240, 320, 3), np.uint8)
    assert cropped(picture, crops[0]).shape == picture.shape


def test_the_trace_follows_the_crop() -> None:
    trace = np.array([[128, 128], [255, 128]], np.uint8)
    moved = moved_trace(trace, Crop(0.05, 0.05, 0.9))
    assert moved is not None
    assert moved.tolist() == [[128, 128]], "the second point was cut off"
    assert moved_trace(np.array([[0, 0]], np.uint8), centre_crop(0.9)) is None


def test_a_varied_sample_repeats_with_its_generator(data: DataSet, tick: Tick) -> None:
    recipe = replace(PRESETS["nano-cpu"], crop=0.9, jitter=True)
    a, b = (varied(tick, data.card, recipe, np.random.default_rng(5), "reason") for _ in range(2))
    assert a.answer == b.answer
    assert np.array_equal(a.pictures[0], b.pictures[0])
    other = varied(tick, data.card, recipe, np.random.default_rng(6), "reason")
    assert not np.array_equal(a.pictures[0], other.pictures[0])


def test_the_answers_trace_follows_the_visits_own_crop(data: DataSet, tick: Tick) -> None:
    """A network that is told where things were before the crop learns to point beside them."""
    trace = np.array([[128, 120], [140, 130], [150, 125]], np.uint8)
    centred = replace(tick, trace=trace)
    recipe = replace(PRESETS["nano-cpu"], crop=0.7, jitter=False)
    contract = AnswerContract(data.statistics)
    shifts = set()
    for seed in range(5):
        made = varied(centred, data.card, recipe, np.random.default_rng(seed), "reason")
        crop = random_crop(np.random.default_rng(seed), recipe.crop)
        assert np.array_equal(made.pictures[0], cropped(tick.pictures[0], crop))
        found = parse_answer(made.answer, contract).trace
        assert np.array_equal(found, moved_trace(trace, crop))
        shifts.add(tuple(found[0]))
        still = replace(data.card, crop_moves_trace=False)
        made = varied(centred, still, recipe, np.random.default_rng(seed), "reason")
        assert np.array_equal(parse_answer(made.answer, contract).trace, trace)
    assert len(shifts) > 1


def test_colours_change_a_little() -> None:
    grey = np.full((8, 8, 3), 100, np.uint8)
    out = jittered(grey, np.random.default_rng(1)).astype(int)
    assert 60 < out.mean() < 150


def test_recipes_are_changed_by_text_and_checked() -> None:
    assert changed(Recipe(), {"steps": "7", "jitter": "false"}).steps == 7
    with pytest.raises(BadRecipe, match="unknown field"):
        changed(Recipe(), {"step": "7"})
    with pytest.raises(BadRecipe, match="expected int"):
        changed(Recipe(), {"steps": "many"})
    with pytest.raises(BadRecipe, match="micro"):
        changed(Recipe(), {"micro": "999"})
