"""Status in words: what it does now, and what the operator does next."""

from __future__ import annotations

from dataclasses import dataclass

from molmoact_ros.web.status import ArmStatus, CommandStatus, PolicyStatus


@dataclass(frozen=True)
class Words:
    """level: ok, busy, warn or stop (the page adds a shape to each). title; next: what to do."""

    level: str
    title: str
    next: str


def in_words(
    policy: PolicyStatus | None, command: CommandStatus | None, arm: ArmStatus | None
) -> Words:
    """The one thing that matters most, worst first. None: nothing was heard of that part yet."""
    if command is not None and not command.enabled:
        reason = command.reason or "The motion was stopped"
        return Words("stop", "Stopped", f"{_sentence(reason)} Press Reset when the arm is free.")
    if arm is not None and arm.errors:
        return Words("stop", "The arm reports a fault", _first(arm.detail, *arm.errors))
    if arm is not None and not arm.connected:
        return Words("warn", "No arm", _first(arm.detail, "Start the arm or its simulation."))
    if policy is None:
        return Words("warn", "Waiting for the policy", "It should answer within a minute; if not, "
                     "look at the terminal that started it.")  # fmt: skip
    if policy.phase == "fault":
        return Words("stop", "The policy cannot think", _first(policy.detail, "Press Start again."))
    if policy.phase == "waiting_for_data":
        return Words("warn", "Waiting for cameras", _first(policy.detail, "Check both cameras."))
    if command is not None and command.source == "teleop":
        return Words("warn", "A person drives by hand", "The policy waits until the hand lets go.")
    if policy.phase == "awaiting_approval":
        return Words("busy", "A plan waits for you", _first(policy.detail, "Approve or reject it."))
    if policy.phase == "paused":
        return Words("warn", "Paused", _first(policy.detail, "Press Start to go on."))
    if policy.phase in ("thinking", "executing"):
        return _working(policy, command)
    if arm is not None and not arm.armed and policy.mode != "shadow":
        return Words("warn", "The arm is disarmed", _first(arm.detail, "Press Reset to arm it."))
    return Words("ok", "Ready", _first(policy.detail, "Type an instruction and press Start."))


def _working(policy: PolicyStatus, command: CommandStatus | None) -> Words:
    detail = policy.detail
    if command is not None and command.limited:
        why = command.reason or "a limit"
        return Words("warn", "Moving, slowed by a guard", _first(_sentence(why), detail))
    if policy.mode == "shadow":
        return Words("busy", "Thinking only", _first(detail, "Shadow mode: the arm does not move."))
    if command is not None and command.source == "hold" and policy.phase == "executing":
        return Words("warn", "Holding still", _first(_sentence(command.reason), detail))
    if policy.steering_active:
        return Words("busy", "Following your path", "Clear the path to let the robot decide again.")
    if policy.phase == "thinking" and policy.row >= policy.rows:
        return Words("busy", "Thinking", _first(detail, "The first motion follows."))
    return Words("busy", "Moving", _first(detail, "Press STOP at any time."))


def _sentence(text: str) -> str:
    text = text.strip()
    if not text:
        return ""
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")


def _first(*texts: str) -> str:
    return next((_sentence(text) for text in texts if text.strip()), "")
