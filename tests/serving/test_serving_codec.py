"""The codec: arrays survive exactly, and no bytes from outside crash, pickle or eat memory."""

from __future__ import annotations

import pickle
import struct
import tracemalloc

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molmoact_ros.policy.wire.codec import DEFAULT_LIMITS, DTYPES, WireError, pack, unpack


@pytest.mark.parametrize("dtype", sorted(DTYPES))
@pytest.mark.parametrize("shape", [(), (0, 2), (3,), (2, 3, 4)])
def test_arrays_arrive_as_they_left(dtype: str, shape: tuple[int, ...]) -> None:
    """A changed bit of a picture changes tokens; a changed bit of an action moves an arm."""
    array = np.arange(np.prod(shape, dtype=int), dtype=dtype).reshape(shape)
    found = unpack(pack({"a": array}))["a"]
    assert found.dtype == array.dtype and found.shape == array.shape
    assert np.array_equal(found, array)
    assert found.flags.writeable and found.flags.owndata


def test_views_and_big_endian_arrays_are_sent_by_value() -> None:
    array = np.arange(12, dtype=">f4").reshape(3, 4)[:, ::-2]
    assert np.array_equal(unpack(pack({"a": array}))["a"], array)


@pytest.mark.parametrize(
    "value",
    [np.array([object()]), np.array(["text"]), np.zeros(2, complex), object(), {1, 2}],
)
def test_what_the_wire_does_not_know_is_not_sent(value: object) -> None:
    with pytest.raises(WireError, match="cannot be sent"):
        pack({"a": value})


def entry(**changes: object) -> bytes:
    fields = {"dtype": "uint8", "shape": [2, 2], "data": b"abcd", **changes}
    return bytes(msgpack.packb({"a": fields}))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (entry(dtype="object", data=pickle.dumps([1])), "dtype 'object'"),
        (entry(dtype="O"), "dtype 'O'"),
        (entry(dtype=["uint8"]), "dtype"),
        (entry(shape=[2, 3]), "needs 6 bytes, 4 bytes came"),
        (entry(shape=[-2, -2]), "whole numbers"),
        (entry(shape=[2**40, 0]), "whole numbers"),
        (entry(shape=[True, 4]), "whole numbers"),
        (entry(shape="22"), "whole numbers"),
        (entry(shape=[1, 1, 1, 2, 2]), "5 dimensions"),
        (entry(data="abcd"), "str came"),
        (b"", "not a valid msgpack"),
        (b"\xc1", "not a valid msgpack"),
        (msgpack.packb({"a": 1})[:-1], "not a valid msgpack"),
        (msgpack.packb({"a": 1}) + b"\x00", "not a valid msgpack"),
        (msgpack.packb([1, 2]), "is a list"),
        (msgpack.packb({b"a": 1}), "text keys"),
        (msgpack.packb({1: 1}), "not a valid msgpack"),
        (b"\x82\xa1a\x01\xa1a\x02", "same key twice"),
        (msgpack.packb({"a": msgpack.ExtType(5, b"x")}), "not a valid msgpack|extension"),
        (msgpack.packb({"a": msgpack.ExtType(5, b"")}), "extension type 5"),
        (msgpack.packb({"a": msgpack.Timestamp(1)}), "not a valid msgpack|Timestamp"),
        (b"\x81\xa1a\xa2\xff\xfe", "not a valid msgpack"),
        (msgpack.packb({"a": "x" * (DEFAULT_LIMITS.text + 1)}), "not a valid msgpack"),
        (msgpack.packb({"a": [0] * (DEFAULT_LIMITS.items + 1)}), "not a valid msgpack"),
        (msgpack.packb({"a": [[] for _ in range(250)] + [[[]]] * 5}), "too many lists"),
        (msgpack.packb({"a": [[[[[[[[[]]]]]]]]]}), "nested too deeply"),
        (b"\x81\xa1a" + b"\x91" * 5000, "not a valid msgpack"),
        (msgpack.packb({str(i): msgpack.unpackb(entry())["a"] for i in range(17)}), "too many arr"),
        ("text", "a text message"),
        (b"\x00" * (DEFAULT_LIMITS.message_bytes + 1), "the limit is 16777216"),
    ],
)
def test_every_damaged_message_is_refused_in_words(data: bytes | str, message: str) -> None:
    with pytest.raises(WireError, match=message):
        unpack(data)


def test_a_small_message_cannot_ask_for_much_memory() -> None:
    """16 MiB of empty lists would become a gigabyte of Python objects."""
    full = struct.pack(">BI", 0xDD, 250)
    bombs = [
        b"\x81\xa1a" + struct.pack(">BI", 0xDD, 2**32 - 1),
        b"\x81\xa1a" + struct.pack(">BI", 0xC6, 2**32 - 1),
        b"\x81\xa1a" + struct.pack(">BI", 0xDF, 2**32 - 1),
        b"\x81\xa1a" + full + (full + b"\x90" * 250) * 250,
        b"\x81\xa1a" + full * 900,
    ]
    tracemalloc.start()
    try:
        for bomb in bombs:
            with pytest.raises(WireError):
                unpack(bomb)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20e6


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=9) | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | PLAIN.map(msgpack.packb))
def test_any_bytes_give_a_message_or_words(data: bytes) -> None:
    """The server calls nothing else on what a stranger sends."""
    try:
        message = unpack(data)
    except WireError as error:
        assert str(error)
    else:
        assert all(isinstance(key, str) for key in message)
