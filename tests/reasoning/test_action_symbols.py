"""Symbols and bins: one wrong entry here is a wrong motion of a real arm."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from molmoact_ros.reasoning.actions import chunk_text, decode, encode
from molmoact_ros.reasoning.symbols import SYMBOLS, bin_of


def test_table_is_the_released_one() -> None:
    """The digest was measured on the vocabulary the released weights were trained with."""
    digest = hashlib.sha256("\n".join(SYMBOLS).encode()).hexdigest()
    assert digest == "c454449a2220067f488b7ac4f9b1d1cb99ac2681054bff14b59a0067e5ee0cc8"


def test_symbols_cannot_be_confused() -> None:
    """Symbols stand in bracketed, comma-separated text and must survive Unicode normalisation."""
    assert len(set(SYMBOLS)) == 256
    for symbol in SYMBOLS:
        assert unicodedata.normalize("NFC", symbol) == symbol
        assert not any(character.isascii() for character in symbol)


def test_bin_of_knows_every_symbol_and_nothing_else() -> None:
    assert [bin_of(symbol) for symbol in SYMBOLS] == list(range(256))
    assert bin_of("") is None
    assert bin_of("hello") is None
    assert bin_of(SYMBOLS[0][:-1]) is None


def test_golden_bins(golden: Path) -> None:
    for case in json.loads((golden / "parsers/action_bins.json").read_text()):
        assert SYMBOLS[case["bin"]] == case["symbol"]
        assert decode(case["bin"]) == case["decoded_value"]
        assert encode(case["lower_edge"]) == case["bin"]


def test_golden_encoding(golden: Path) -> None:
    with np.load(golden / "parsers/action_encode.npz") as cases:
        bins = encode(cases["values"])
        np.testing.assert_array_equal(bins, cases["bins"])
        np.testing.assert_array_equal(151642 - bins.astype(int), cases["token_ids"])


@pytest.mark.parametrize(
    ("value", "index", "decoded"),
    [(-1, 0, -0.996078), (-0.5, 63, -0.501961), (0, 127, 0), (0.999, 254, 0.996078),
     (1, 255, 0.996078), (7, 255, 0.996078)],
)  # fmt: skip
def test_values_of_the_data_contract(value: float, index: int, decoded: float) -> None:
    assert encode(value) == index
    assert decode(index) == pytest.approx(decoded, abs=1e-6)


@given(st.floats(-1, 1))
def test_round_trip_stays_within_half_a_bin(value: float) -> None:
    assert abs(float(decode(encode(value))) - value) <= 0.003922


@given(st.integers(0, 254))
def test_decoded_value_encodes_to_its_bin(index: int) -> None:
    """Except bin 255, which shares its value with 254: parse and compose again must not drift."""
    assert encode(decode(index)) == index


def test_zero_is_exactly_zero() -> None:
    """A closed gripper and a still axis decode to 0.0, not to a small drift."""
    assert decode(encode(0.0)) == 0.0


def test_chunk_text_form() -> None:
    a, b = SYMBOLS[3], SYMBOLS[200]
    assert chunk_text([3, 200]) == f"[{a}, {b}]"
    assert chunk_text([[3, 200], [200, 3]]) == f"[[{a}, {b}], [{b}, {a}]]"


@pytest.mark.parametrize("bad", [[np.nan], [np.inf], [[0.0, -np.inf]]])
def test_non_finite_values_are_never_written(bad: list[float]) -> None:
    """NaN would come out as the top bin, a full-speed motion."""
    with pytest.raises(ValueError, match="not finite"):
        encode(bad)


@pytest.mark.parametrize("bad", [[256], [-1], [0.5], [], [[[1]]]])
def test_bins_out_of_range_are_never_written(bad: list[float]) -> None:
    with pytest.raises(ValueError):
        chunk_text(bad)
