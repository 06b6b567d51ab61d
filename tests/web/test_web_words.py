"""Status in words: the worst thing first, and always what to do next."""

from __future__ import annotations

import itertools

import pytest

from molmoact_ros.web.status import PHASES, ArmStatus, CommandStatus, PolicyStatus, finite
from molmoact_ros.web.words import in_words

ARM = ArmStatus(connected=True, armed=True)
MOVING = PolicyStatus("executing", "pick up the cube", chunk_id=1, row=2, rows=8)


@pytest.mark.parametrize(
    ("policy", "command", "arm", "level", "title"),
    [
        (None, None, None, "warn", "Waiting for the policy"),
        (PolicyStatus(), CommandStatus(), ARM, "ok", "Ready"),
        (MOVING, CommandStatus("policy"), ARM, "busy", "Moving"),
        (MOVING, CommandStatus("hold", reason="stale data"), ARM, "warn", "Holding still"),
        (MOVING, CommandStatus("policy", limited=True), ARM, "warn", "Moving, slowed by a guard"),
        (PolicyStatus("thinking"), CommandStatus(), ARM, "busy", "Thinking"),
        (PolicyStatus("executing", mode="shadow"), None, ARM, "busy", "Thinking only"),
        (
            PolicyStatus("fault", detail="x"),
            CommandStatus(),
            ARM,
            "stop",
            "The policy cannot think",
        ),
        (MOVING, CommandStatus(), ArmStatus(connected=False), "warn", "No arm"),
        (PolicyStatus(), None, ArmStatus(connected=True), "warn", "The arm is disarmed"),
    ],
)
def test_the_worst_thing_is_said_first(
    policy: PolicyStatus | None,
    command: CommandStatus | None,
    arm: ArmStatus | None,
    level: str,
    title: str,
) -> None:
    """An operator reads one line; it must be the one that matters."""
    words = in_words(policy, command, arm)
    assert (words.level, words.title) == (level, title)


def test_a_stop_hides_everything_else() -> None:
    """After STOP the page must never say "Moving", whatever else is still reported."""
    for phase in PHASES:
        words = in_words(
            PolicyStatus(phase), CommandStatus("policy", enabled=False), ArmStatus(errors=("x",))
        )
        assert words.title == "Stopped" and "Reset" in words.next


def test_every_state_says_what_to_do_next() -> None:
    """An empty second line leaves the operator alone."""
    commands = [None, CommandStatus(), CommandStatus("policy"), CommandStatus(enabled=False)]
    arms = [None, ARM, ArmStatus(), ArmStatus(connected=True, errors=("reflex",))]
    for phase, command, arm in itertools.product(PHASES, commands, arms):
        words = in_words(PolicyStatus(phase), command, arm)
        assert words.next or words.title == "Holding still", (phase, command, arm)
        assert words.next[-1:] in (".", "!", "?", "")


def test_json_never_holds_nan() -> None:
    """JSON.parse of a browser refuses NaN, and the whole page would stand still."""
    assert finite({"a": (1.0, float("nan")), "b": float("inf")}) == {"a": [1.0, None], "b": None}
