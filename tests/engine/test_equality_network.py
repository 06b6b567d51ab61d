"""The engine writes exactly the tokens of the plain loop, on random networks in float32.

Whatever was guessed, however wrong, a token may never change: a robot must not move differently
because it moved differently before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from molmoact_ros.engine.answers import AnswerShape
from molmoact_ros.engine.engine import Engine
from molmoact_ros.engine.greedy import decode_greedy
from molmoact_ros.engine.heads import LogitBias
from molmoact_ros.engine.memory import DraftMemory
from molmoact_ros.engine.reader import AnswerReader
from molmoact_ros.engine.settings import EngineSettings
from molmoact_ros.model.molmoact import MolmoAct
from molmoact_ros.model.tokenizer import MolmoActTokenizer
from molmoact_ros.reasoning.answer import compose_answer

CORRUPTION = (0.0, 0.05, 0.2, 0.4, 1.0)
ROWS = ((64,), (1, 4, 8, 16, 32), (8,), (3, 7))
ROUNDING = 2e-5
"""A top-2 margin under which float32 sums in another order may choose the other token."""


@dataclass
class Case:
    """Everything one comparison needs, drawn from a seed."""

    rng: np.random.Generator
    name: str
    tokenizer: MolmoActTokenizer
    model: MolmoAct
    shape: AnswerShape
    prompt: list[int]
    features: torch.Tensor | None
    settings: EngineSettings
    bias: LogitBias | None = None


def draw(seed: int, name: str, mode: str, words: Callable, tiny: Callable) -> Case:
    rng = np.random.default_rng(seed)
    tokenizer, _ = words(name)
    model = tiny(tokenizer.vocab_size, "DO"[seed % 2], seed // 50)
    wording = ("single", "multi", "steering", "finetune")[seed % 4]
    shape = AnswerShape(
        (wording,) if seed % 8 else ("single", "multi"),
        rows=int(rng.integers(1, 4)),
        dims=(3, 7)[seed % 2],
        depth_codes=None if rng.random() < 0.5 else int(rng.integers(1, 20)),
        max_depth_codes=24,
    )
    pictures = int(rng.integers(0, 3))
    picture = [tokenizer.ids.im_start, *[tokenizer.ids.im_patch] * 5, tokenizer.ids.im_end]
    prompt = [tokenizer.ids.eos, *picture * pictures, *tokenizer.encode(f"User: {seed} Assistant:")]
    features = torch.randn(5 * pictures, 32, generator=torch.Generator().manual_seed(seed))
    settings = EngineSettings(
        mode,  # type: ignore[arg-type]
        # A row of 152,064 logits is what costs time on a CPU.
        rows=ROWS[seed % len(ROWS)] if mode != "strict" or name == "nano" else (3, 8),
        least_probability=(0.0, 0.15)[seed % 3 == 0],
        prefill_bucket=(16, 64)[seed % 2],
        max_new_tokens=400 if rng.random() < 0.9 else int(rng.integers(1, 60)),
    )
    return Case(
        rng, name, tokenizer, model, shape, prompt, features if pictures else None, settings
    )


def scripted(case: Case) -> LogitBias:
    """Logits that make the network write an answer whose values it chooses itself; in every third
    case a token in the middle is nonsense, where the model leaves the grammar.
    """
    rng, tokenizer, shape = case.rng, case.tokenizer, case.shape
    depth = rng.integers(0, 128, shape.depth_codes or rng.integers(1, 24))
    trace = rng.integers(0, 256, (rng.integers(1, 6), 2)).tolist()
    bins = rng.integers(0, 256, (shape.rows, shape.dims))
    wording = shape.wordings[-1]
    steered = wording == "steering"
    text = compose_answer(None if steered else depth, None if steered else trace, bins, wording)
    target = [*tokenizer.encode(text), tokenizer.ids.eos]
    codes = set(range(tokenizer.ids.depth_code, tokenizer.ids.depth_code + 128))
    values = {token for token in target if tokenizer.decode([token]).strip().isdigit()}
    odd = int(rng.integers(0, len(target))) if rng.random() < 1 / 3 else -1
    table = [torch.zeros(tokenizer.vocab_size)]
    kinds = [0] * (len(case.prompt) - 1)
    families: dict[frozenset[int], int] = {}
    for place, token in enumerate(target):
        family = codes if token in codes else values if token in values else {token}
        if place == odd:
            family = {int(rng.integers(0, tokenizer.vocab_size))}
        key = frozenset(family)
        if key not in families:
            families[key] = len(table)
            line = torch.zeros(tokenizer.vocab_size)
            line[sorted(family)] = 30.0
            table.append(line)
        kinds.append(families[key])
    return LogitBias(torch.tensor(kinds), torch.stack(table))


def remembered(case: Case, answer: list[int], vocabulary: list[bytes | None]) -> DraftMemory:
    """Memory of an answer that is right except for a share of its values, or of another length."""
    rng, reader = case.rng, AnswerReader(case.tokenizer.ids, vocabulary)
    for token in answer:
        reader.push(token)
    share = CORRUPTION[int(rng.integers(len(CORRUPTION)))]

    def damaged(values: tuple[int, ...], top: int) -> tuple[int, ...]:
        wrong = rng.random(len(values)) < share
        return tuple(np.where(wrong, rng.integers(0, top, len(values)), values).tolist())

    memory = DraftMemory(
        depth=damaged(tuple(reader.depth), 128),
        trace=damaged(reader.traces[-1] if reader.traces else (), 256),
        rows=tuple(damaged(row, 256) for row in reader.rows),
        shift=int(rng.integers(0, 3)),
    )
    if rng.random() < 0.3:
        cut = int(rng.integers(0, len(memory.depth) + 1))
        longer = memory.depth + memory.depth[:cut]
        memory.depth = memory.depth[:cut] if rng.random() < 0.5 else longer
        memory.trace = memory.trace[: 2 * int(rng.integers(0, 3))]
        memory.rows = memory.rows[: int(rng.integers(0, 3))]
    return memory


def check(case: Case, words: Callable, grammar_of: Callable, engine: Engine | None = None) -> int:
    """Compare a first thought, one with a damaged memory, and one with what was learned."""
    grammar = grammar_of(case.name, case.shape)
    free = case.settings.mode == "strict"
    expected = decode_greedy(
        case.model,
        case.tokenizer.ids,
        case.prompt,
        case.features,
        grammar=None if free else grammar,
        max_new_tokens=case.settings.max_new_tokens,
        bias=case.bias,
    )
    if engine is None:
        engine = Engine(case.model, case.tokenizer, case.settings, words(case.name)[1])
    memory = remembered(case, list(expected.ids), words(case.name)[1].bytes_of)
    for guess in (None, memory, memory):
        found = engine.answer(case.prompt, case.features, grammar, memory=guess, bias=case.bias)
        if found.ids != expected.ids or found.ended != expected.ended:
            margin = _margin(case, grammar if not free else None, expected.ids, found.ids)
            assert margin < ROUNDING, (
                f"{found.ids} is not {expected.ids}; the top two differed by {margin}"
            )
    return 3


def _margin(case: Case, grammar, expected: tuple[int, ...], found: tuple[int, ...]) -> float:
    """How far apart the two best tokens were where the answers part."""
    same = next(
        (i for i, (a, b) in enumerate(zip(expected, found, strict=False)) if a != b),
        min(len(expected), len(found)),
    )
    ids = [*case.prompt, *expected[:same]]
    with torch.inference_mode():
        hidden = case.model.hidden(case.model.embed(torch.tensor([ids]), case.features))
        logits = case.model.logits(hidden[0, -1])
    if case.bias is not None:
        logits = case.bias.apply(logits[None], torch.tensor([len(ids) - 1]))[0]
    if grammar is not None:
        state = grammar.start
        for token in expected[:same]:
            state = grammar.advance(state, token)
        logits = logits[torch.from_numpy(grammar.allowed(state))]
    top = logits.topk(min(2, len(logits))).values
    return float(top[0] - top[-1]) if len(top) == 2 else 0.0


@pytest.mark.parametrize("seed", range(24))
def test_constrained_equals_the_plain_loop(seed: int, words, tiny, grammar_of) -> None:
    check(draw(seed, "nano", "constrained", words, tiny), words, grammar_of)


@pytest.mark.parametrize("seed", range(24))
def test_strict_equals_the_plain_loop_without_grammar(seed: int, words, tiny, grammar_of) -> None:
    case = draw(seed, "nano", "strict", words, tiny)
    case.bias = scripted(case)
    check(case, words, grammar_of)


@pytest.mark.parametrize("seed", range(3))
def test_strict_survives_a_model_that_never_follows_the_grammar(
    seed: int, words, tiny, grammar_of
) -> None:
    case = draw(seed, "nano", "strict", words, tiny)
    check(case, words, grammar_of)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", ["constrained", "strict"])
@pytest.mark.parametrize("seed", [1, 2])
def test_the_vocabulary_of_7b_d(seed: int, mode: str, words, tiny, grammar_of) -> None:
    case = draw(seed, "D", mode, words, tiny)
    case.bias = scripted(case) if mode == "strict" else None
    check(case, words, grammar_of)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("mode", ["constrained", "strict"])
@pytest.mark.parametrize(("name", "seeds"), [("nano", range(100, 255)), ("D", range(100, 113))])
def test_a_thousand_cases(name: str, seeds: range, mode: str, words, tiny, grammar_of) -> None:
    """Three comparisons a seed, 1,008 in all."""
    compared = 0
    for seed in seeds:
        case = draw(seed, name, mode, words, tiny)
        case.bias = scripted(case) if mode == "strict" else None
        compared += check(case, words, grammar_of)
    assert compared == 3 * len(seeds)
