"""The wire and its doors, without a network."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molmoact_ros.web import protocol
from molmoact_ros.web.page import PageState, Stream
from molmoact_ros.web.requests import COMMANDS, MalformedError, Request, parse_request
from molmoact_ros.web.security import (
    BindRefusedError,
    TokenBucket,
    check_bind,
    host_allowed,
    is_loopback,
    origin_allowed,
    token_matches,
)
from molmoact_ros.web.status import PolicyStatus, ThoughtView

LONG = "a-token-of-24-characters"


def test_a_picture_survives_the_wire() -> None:
    """The page reads the same 16 bytes (link.js); a shifted field would show a wrong age."""
    state = PageState()
    state.put_image(Stream.WRIST, np.zeros((8, 8, 3), np.uint8), 1234.5)
    picture = state.picture(Stream.WRIST)
    assert picture is not None
    data = protocol.pack_picture(Stream.WRIST, picture, picture.jpeg())
    stream, number, stamp, jpeg = protocol.unpack_picture(data)
    assert (stream, number, stamp) == (Stream.WRIST, picture.number, 1234.5)
    assert len(data) == 16 + len(jpeg) and jpeg.startswith(b"\xff\xd8")
    assert protocol.unpack_seen(protocol.pack_seen(Stream.WRIST, 7)) == (Stream.WRIST, 7)


def test_instructions_are_cleaned_and_bounded() -> None:
    """The text goes into a prompt and a log: no line breaks, no control characters, no novel."""
    text = json.dumps(
        {"type": "start", "id": 3, "instruction": "  pick\tup \n it ", "mode": "shadow"}
    )
    assert parse_request(text) == Request("start", 3, "pick up it", "shadow")
    for bad in ("", "   ", "x" * 241, "a\u0000b", 5, None):
        with pytest.raises(MalformedError):
            parse_request(json.dumps({"type": "start", "instruction": bad}))
    with pytest.raises(MalformedError, match="auto, review, shadow"):
        parse_request(json.dumps({"type": "start", "instruction": "go", "mode": "fast"}))


def test_stop_is_understood_with_any_other_field_damaged() -> None:
    """A bug in the page must not be able to spoil the one message that matters."""
    for extra in ({"id": "x"}, {"id": -1}, {"mode": 7}, {"id": [1]}, {"id": 2**60}):
        assert parse_request(json.dumps({"type": "stop", **extra})).kind == "stop"


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.text(max_size=60),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.text(max_size=8) | st.integers(),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["type", "id", "instruction", "mode", "time"]),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=8,
        ).map(json.dumps),
    )
)
def test_anything_else_is_malformed_and_never_an_exception(text: str) -> None:
    """Any other exception would end the connection, or worse, the server."""
    try:
        request = parse_request(text)
    except MalformedError as error:
        assert str(error)
    else:
        assert request.kind in COMMANDS


def test_deep_nesting_and_huge_messages_are_malformed() -> None:
    for text in ("[" * 4000, '{"type":"start","instruction":"' + "x" * 9000 + '"}'):
        with pytest.raises(MalformedError):
            parse_request(text)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "", "robot.local"])
def test_the_page_is_not_opened_to_a_network_without_a_token(host: str) -> None:
    """Anybody in the lab's network could move the arm."""
    with pytest.raises(BindRefusedError, match="set a token"):
        check_bind(host, "")
    with pytest.raises(BindRefusedError, match="at least 16"):
        check_bind(host, "short")
    check_bind(host, LONG)


def test_loopback_is_known_in_all_its_forms() -> None:
    assert all(is_loopback(a) for a in ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"))
    assert is_loopback("localhost")
    assert not any(is_loopback(a) for a in ("10.0.0.1", "", None, "example.com", "::ffff:10.0.0.1"))


def test_a_name_that_is_not_ours_is_refused() -> None:
    """DNS rebinding: evil.example may point at 127.0.0.1, but its Host header tells."""
    assert all(host_allowed(h) for h in ("127.0.0.1:8765", "localhost", "[::1]:80", "10.1.2.3"))
    assert host_allowed("robot.lab:8765", frozenset({"robot.lab"}))
    assert not any(
        host_allowed(h) for h in ("evil.example:8765", "", "[", "localhost.evil.example")
    )


def test_only_our_own_page_may_open_a_socket() -> None:
    assert origin_allowed("http://127.0.0.1:8765", "127.0.0.1:8765")
    assert origin_allowed(None, "127.0.0.1:8765")
    for origin in ("http://evil.example", "null", "http://127.0.0.1:9999", "file://", "http://["):
        assert not origin_allowed(origin, "127.0.0.1:8765")


def test_tokens_are_compared_whole() -> None:
    assert token_matches(LONG, LONG) and token_matches(None, "")
    assert not any(token_matches(t, LONG) for t in (None, "", LONG[:-1], LONG + "x", "\udcff"))


def test_the_bucket_allows_a_burst_and_then_the_rate() -> None:
    now = [0.0]
    bucket = TokenBucket(2.0, 3.0, lambda: now[0])
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
    now[0] = 1.0
    assert [bucket.take() for _ in range(3)] == [True, True, False]


def test_state_keeps_the_latest_and_a_bounded_history() -> None:
    """A page opened after an hour must not get an hour of thoughts."""
    state = PageState(history=4)
    for number in range(10):
        state.add_thought(ThoughtView(number, 0.0))
    numbers = [thought.chunk_id for _, thought in state.snapshot().thoughts]
    assert numbers == [6, 7, 8, 9]
    last = state.snapshot().thoughts[-1][0]
    assert state.snapshot(after_thought=last).thoughts == ()


def test_state_tells_listeners_only_about_changes() -> None:
    """Statuses repeat at 50 Hz; an equal one must not wake every page."""
    state, calls = PageState(), []
    undo = state.listen(lambda: calls.append(1))
    state.set_policy(PolicyStatus("thinking"))
    state.set_policy(PolicyStatus("thinking"))
    assert len(calls) == 1
    undo()
    state.set_policy(PolicyStatus("idle"))
    assert len(calls) == 1


def test_a_picture_that_cannot_be_shown_is_refused_where_it_comes_from() -> None:
    """Found only while sending, it would end every page instead of naming its writer."""
    for bad in (np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4))):
        with pytest.raises(ValueError, match="convert it"):
            PageState().put_image(Stream.EXTERNAL, bad, 0.0)
