"""The gate before the arm: complete answers pass unchanged, everything else is refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from molmoact_ros.reasoning.actions import chunk_text, decode
from molmoact_ros.reasoning.answer import (
    AnswerContract,
    compose_answer,
    parse_answer,
    read_answer,
)
from molmoact_ros.reasoning.depth_text import depth_to_text
from molmoact_ros.reasoning.statistics import ActionStatistics, read_statistics
from molmoact_ros.reasoning.symbols import SYMBOLS
from molmoact_ros.reasoning.thought import Thought, ThoughtRefused
from molmoact_ros.reasoning.trace_text import trace_to_text

codes = hnp.arrays(np.uint8, (10, 10), elements=st.integers(0, 127))
traces = hnp.arrays(
    np.int64, st.tuples(st.integers(1, 5), st.just(2)), elements=st.integers(0, 255)
)
chunks = hnp.arrays(np.uint8, (8, 7), elements=st.integers(0, 255))

DEPTH = np.arange(100).reshape(10, 10)
TRACE = np.array([[140, 225], [130, 212], [5, 0]])
BINS = np.arange(56).reshape(8, 7) * 4
GOOD = compose_answer(DEPTH, TRACE, BINS, "multi")
D, T, A = depth_to_text(DEPTH), trace_to_text(TRACE), chunk_text(BINS)


@pytest.mark.parametrize("wording", ["single", "multi", "finetune"])
@given(depth=codes, trace=traces, bins=chunks)
@settings(max_examples=40)
def test_round_trip(
    contract: AnswerContract, wording: str, depth: np.ndarray, trace: np.ndarray, bins: np.ndarray
) -> None:
    text = compose_answer(depth, trace, bins, wording)  # type: ignore[arg-type]
    assert text.startswith(" The depth map")
    thought = parse_answer(text, contract, {"decode": 1.5})
    np.testing.assert_array_equal(thought.depth, depth)
    np.testing.assert_array_equal(thought.trace, trace)
    np.testing.assert_array_equal(thought.actions, contract.statistics.unnormalise(decode(bins)))
    np.testing.assert_array_equal(read_answer(text, contract).bins, bins)
    assert (thought.text, thought.steered, thought.timings) == (text, False, {"decode": 1.5})


@given(bins=chunks)
def test_steering_round_trip(contract: AnswerContract, bins: np.ndarray) -> None:
    text = compose_answer(None, None, bins, "steering")
    thought = parse_answer(text, dataclasses.replace(contract, steered=True))
    assert thought.steered
    assert thought.depth is None
    assert thought.trace.shape == (0, 2)
    np.testing.assert_array_equal(thought.actions, contract.statistics.unnormalise(decode(bins)))


def test_answer_without_depth_where_allowed(contract: AnswerContract) -> None:
    """A set-up without depth labels leaves the sentence out; an empty one was never trained."""
    text = compose_answer(None, TRACE, BINS, "multi")
    assert "depth" not in text
    assert parse_answer(text, dataclasses.replace(contract, depth_required=False)).depth is None
    assert parse_answer(GOOD, dataclasses.replace(contract, depth_required=False)).depth is not None
    with pytest.raises(ThoughtRefused, match="one depth part"):
        parse_answer(text, contract)


def test_types_promised_by_thought(contract: AnswerContract) -> None:
    thought = parse_answer(GOOD, contract)
    assert thought.depth is not None
    assert thought.depth.dtype == np.uint8
    assert thought.trace.dtype == np.float32
    assert thought.actions.dtype == np.float64
    assert thought.actions.shape == (8, 7)


def test_golden_answers(golden: Path) -> None:
    """Recorded full answers are written byte for byte and read to the recorded motion."""
    table = json.loads((golden / "parsers/parse_cases.json").read_text(encoding="utf-8"))
    whole = [
        c for c in table["cases"] if c["name"].startswith("full") or c["name"] == "trace_one_point"
    ]
    assert len(whole) == 4
    for case in whole:
        rows = len(case["action"])
        contract = AnswerContract(read_statistics(table["norm_stats"], "robot7"), rows=rows)
        thought = parse_answer(case["text"], contract)
        assert thought.actions.tolist() == case["action"]
        assert [thought.trace.tolist()] == case["trace"]
        answer = read_answer(case["text"], contract)
        assert answer.depth is not None
        assert depth_to_text(answer.depth) == case["depth"][0]
        flat = answer.bins[0] if "[[" not in case["text"].rpartition(" is ")[2] else answer.bins
        again = compose_answer(answer.depth, answer.trace, flat, "single")
        assert again.strip() == case["text"].strip()


DAMAGED = {
    "empty": "",
    "no brackets": "nothing here",
    "no action": f"depth {D}. trace {T}.",
    "no trace": f"depth {D}. action {A}.",
    "no depth": f"trace {T}. action {A}.",
    "two depths": f"{D} {D} {T} {A}",
    "two different traces": f"{D} {T} [[1, 2]] {A}",
    "two actions": f"{D} {T} {A} {A}",
    "list after the action": f"{D} {T} {A} more [1, 2]",
    "wrong order": f"{D} {A} {T}",
    "depth last": f"{T} {A} {D}",
    "cut in the depth": GOOD[: GOOD.index("<DEPTH_50>")],
    "cut in the trace": GOOD[: GOOD.index("[5, 0]")],
    "cut in a row": GOOD[:-20],
    "cut before the last bracket": GOOD[:-2],
    "lost opening bracket": f"{D} {T} {A[1:]}",
    "lost list": f"{D} {T} {A.replace('[', '').replace(']', '')}",
    "seven rows": f"{D} {T} {chunk_text(BINS[:7])}",
    "nine rows": f"{D} {T} {chunk_text(np.vstack([BINS, BINS[:1]]))}",
    "six entries": f"{D} {T} {chunk_text(BINS[:, :6])}",
    "eight entries": f"{D} {T} {chunk_text(np.hstack([BINS, BINS[:, :1]]))}",
    "one short row": GOOD.replace(f", {SYMBOLS[BINS[3, 6]]}]", "]"),
    "word for a symbol": GOOD.replace(SYMBOLS[BINS[3, 2]], "hello"),
    "other vocabulary word": GOOD.replace(SYMBOLS[BINS[3, 2]], "\u0120the"),
    "real character": GOOD.replace(SYMBOLS[BINS[3, 2]], "\u4e16"),
    "number": GOOD.replace(SYMBOLS[BINS[3, 2]], "0.25"),
    "nan": GOOD.replace(SYMBOLS[BINS[3, 2]], "nan"),
    "empty entry": GOOD.replace(SYMBOLS[BINS[3, 2]], ""),
    "half a symbol": GOOD.replace(SYMBOLS[0], SYMBOLS[0][:-1]),
    "quoted symbol": GOOD.replace(SYMBOLS[0], f'"{SYMBOLS[0]}"'),
    "rows without comma": GOOD.replace("], [", "] [", 9),
    "three levels": f"{D} {T} [{A}]",
    "flat chunk": f"{D} {T} [{A.replace('[', '').replace(']', '')}]",
    "depth code outside": f"<DEPTH_3> {GOOD}",
    "trace outside the grid": GOOD.replace("225", "256"),
    "six trace points": GOOD.replace("[5, 0]", "[5, 0], [1, 1], [1, 1], [1, 1]"),
    "lost symbol": GOOD + f" {SYMBOLS[9]}",
    "endless": GOOD + " word" * 5000,
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_answers_are_refused(contract: AnswerContract, name: str) -> None:
    """Each would move the arm wrongly if it were guessed; the text is kept for a person."""
    text = DAMAGED[name]
    assert text != GOOD
    with pytest.raises(ThoughtRefused) as refusal:
        parse_answer(text, contract)
    assert refusal.value.text == text
    assert refusal.value.reason.endswith(".")
    assert len(refusal.value.reason) < 250
    assert "\n" not in refusal.value.reason


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("cut in the depth", "cut off inside its depth"),
        ("cut in a row", "cut off inside a list"),
        ("lost opening bracket", "brackets of the answer do not match"),
        ("three levels", "brackets of the answer do not match"),
        ("seven rows", "7 action rows instead of 8"),
        ("flat chunk", "Action row|1 action rows instead of 8"),
        ("one short row", "row 4 has 6 entries instead of 7"),
        ("word for a symbol", "row 4 holds 'hello'"),
        ("two actions", r"1 depth part\(s\) and 3 list\(s\)"),
        ("empty", "neither a depth part nor a list"),
    ],
)
def test_refusals_name_what_was_found(contract: AnswerContract, name: str, reason: str) -> None:
    """The operator reads this sentence to decide between more tokens and another checkpoint."""
    with pytest.raises(ThoughtRefused, match=reason):
        parse_answer(DAMAGED[name], contract)


@pytest.mark.filterwarnings("ignore:overflow")
def test_statistics_that_overflow_are_refused() -> None:
    """Quantiles beyond float32 would become an infinite motion."""
    huge = ActionStatistics(
        q01=np.full(7, -3e38), q99=np.full(7, 3e38), mask=np.ones(7, dtype=bool)
    )
    with pytest.raises(ThoughtRefused, match="not finite"):
        parse_answer(GOOD, AnswerContract(huge))


def test_steering_answer_with_a_trace_is_refused(contract: AnswerContract) -> None:
    """The model answered another question than it was asked; its actions are not trusted."""
    with pytest.raises(ThoughtRefused, match="steering question"):
        parse_answer(GOOD, dataclasses.replace(contract, steered=True))


def test_wording_between_the_parts_does_not_matter(contract: AnswerContract) -> None:
    """Checkpoints differ in wording; only the bracketed parts count."""
    plain = parse_answer(f"{D}\n{T}\n{A}<|endoftext|>", contract)
    np.testing.assert_array_equal(plain.actions, parse_answer(GOOD, contract).actions)


@given(data=st.data())
@settings(max_examples=300)
def test_mutations_are_refused_or_read_as_written(
    contract: AnswerContract, data: st.DataObject
) -> None:
    """No mutation raises anything but ThoughtRefused, and nothing is read that is not written.

    A changed digit or symbol can be a valid other answer; then that very text must be in it.
    """
    text = GOOD
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 12)))
        alphabet = st.sampled_from(
            [*"[],. 0129<>_\n\"'", "nan", "<DEPTH_END>", "<DEPTH_7>", *SYMBOLS[:9]]
        )
        insert = "".join(data.draw(st.lists(alphabet, max_size=3)))
        text = text[:start] + insert + text[end:]
    _check_any_text(text, contract)


@given(cut=st.integers(0, len(GOOD)))
def test_cut_answers_are_refused(contract: AnswerContract, cut: int) -> None:
    """Running out of tokens must never leave half a chunk; only the final stop may be missing."""
    if cut >= len(GOOD) - 1:
        assert parse_answer(GOOD[:cut], contract).actions.shape == (8, 7)
    else:
        with pytest.raises(ThoughtRefused):
            parse_answer(GOOD[:cut], contract)


@given(text=st.text(max_size=200))
def test_any_text_is_refused(contract: AnswerContract, text: str) -> None:
    with pytest.raises(ThoughtRefused):
        parse_answer(text, contract)


def _check_any_text(text: str, contract: AnswerContract) -> None:
    try:
        thought, answer = parse_answer(text, contract), read_answer(text, contract)
    except ThoughtRefused as refusal:
        assert refusal.text == text
        return
    assert isinstance(thought, Thought)
    assert np.isfinite(thought.actions).all()
    assert answer.depth is not None
    written = "".join(text.split())
    for part in (chunk_text(answer.bins), trace_to_text(answer.trace), depth_to_text(answer.depth)):
        assert part.replace(" ", "") in written


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((DEPTH, TRACE, BINS, "steering"), "actions only"),
        ((DEPTH, None, BINS, "multi"), "needs a trace"),
        ((DEPTH, TRACE, BINS, "french"), "Unknown wording"),
        ((DEPTH + 100, TRACE, BINS, "multi"), "0..127"),
        ((DEPTH, TRACE + 100, BINS, "multi"), "0..255"),
        ((DEPTH, TRACE, BINS + 100, "multi"), "0..255"),
    ],
)
def test_impossible_answers_are_never_written(parts: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compose_answer(*parts)


def test_contract_must_fit_its_statistics(statistics: ActionStatistics) -> None:
    with pytest.raises(ValueError, match="7 dimensions"):
        AnswerContract(statistics, dims=14)
    with pytest.raises(ValueError, match="rows=0"):
        AnswerContract(statistics, rows=0)


def test_single_action_without_outer_brackets(statistics: ActionStatistics) -> None:
    """Pre-trained checkpoints answer one action as a flat list."""
    contract = AnswerContract(statistics, rows=1)
    text = compose_answer(DEPTH, TRACE, BINS[0], "single")
    assert parse_answer(text, contract).actions.shape == (1, 7)
