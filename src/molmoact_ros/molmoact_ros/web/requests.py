"""What a page may ask, and the checks on it: nothing behind this file sees an unchecked value.

Text messages are JSON objects with a ``type``; ``id`` is the page's own number and comes back in
the answer. ``stop`` is never refused for its other fields.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from molmoact_ros.reasoning.sketch import BadSketch, check_points
from molmoact_ros.web.status import MODES

MAX_MESSAGE_BYTES = 8192
MAX_INSTRUCTION = 240
REVIEWS = ("approve", "rethink", "reject")
RECORDING = (
    "start", "stop", "success", "failure", "discard", "redo", "next_task", "scene_changed",
)  # fmt: skip
HANDS = ("policy", "teleop", "hold")
TRAINING = ("start", "stop")
AXES, BUTTONS = 6, 4
"""Of a hand: forward, left, up, roll, pitch, yaw; dead-man switch, open, close, give back."""

Points = tuple[tuple[float, float], ...]
Body = Mapping[str, object]


class MalformedError(ValueError):
    """A message from a page that means nothing; the text says what was expected."""


@dataclass(frozen=True)
class Request:
    """A checked message.

    points: 2 to 5 of a drawn path, (x, y) on the 0..255 grid of the picture ``frame``.
    until_cleared: its lifetime, else the next chunk. plan: the thought that ``choice`` (one of
    REVIEWS) answers. choice: one of RECORDING for record, of HANDS for hand, of TRAINING for train.
    axes [6] in -1..1 and buttons [4] of jog.
    """

    kind: str
    id: int = 0
    instruction: str = ""
    mode: str = "auto"
    time: float = 0.0
    frame: int = 0
    points: Points = ()
    until_cleared: bool = False
    plan: int = 0
    choice: str = ""
    want: bool = True
    axes: tuple[float, ...] = ()
    buttons: tuple[bool, ...] = ()


def parse_request(text: str) -> Request:
    """A text message as a Request. Raises MalformedError with what was expected."""
    if len(text) > MAX_MESSAGE_BYTES:
        raise MalformedError(f"message of {len(text)} characters; send at most {MAX_MESSAGE_BYTES}")
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MalformedError("message is not JSON; send an object with a type") from error
    kind = body.get("type") if isinstance(body, dict) else None
    if not isinstance(kind, str) or kind not in COMMANDS:
        raise MalformedError(
            f"unknown message; expected an object with a type of {', '.join(COMMANDS)}"
        )
    number = body.get("id", 0)
    if kind == "stop":
        return Request("stop", number if _is_whole(number) else 0)
    if not _is_whole(number):
        raise MalformedError("id must be a whole number between 0 and 2^31")
    return COMMANDS[kind](body, Request(kind, number))


def _plain(body: Body, request: Request) -> Request:
    return request


def _ping(body: Body, request: Request) -> Request:
    time = body.get("time", 0.0)
    if isinstance(time, bool) or not isinstance(time, (int, float)) or not abs(time) < 1e15:
        raise MalformedError("time must be a number of milliseconds")
    return replace(request, time=float(time))


def _start(body: Body, request: Request) -> Request:
    mode = body.get("mode", "auto")
    if not isinstance(mode, str) or mode not in MODES:
        raise MalformedError(f"unknown mode; expected one of {', '.join(MODES)}")
    return replace(request, instruction=_words(body, "instruction"), mode=mode)


def _words(body: Body, name: str) -> str:
    raw = body.get(name)
    if not isinstance(raw, str):
        raise MalformedError(f"{name} must be text; type what the robot should do")
    words = " ".join(raw.split())
    if not words:
        raise MalformedError(f"the {name} is empty; type what the robot should do")
    if len(words) > MAX_INSTRUCTION or not words.isprintable():
        raise MalformedError(
            f"the {name} has {len(words)} characters or some that cannot be printed; "
            f"use at most {MAX_INSTRUCTION} ordinary ones"
        )
    return words


def _freeze(body: Body, request: Request) -> Request:
    return replace(request, frame=_whole(body, "frame", 2**32))


def _drawn(body: Body, request: Request) -> Request:
    raw = body.get("points")
    pairs = raw if isinstance(raw, list) else []
    if not all(isinstance(p, list) and len(p) == 2 and all(map(_is_number, p)) for p in pairs):
        raise MalformedError("points must be a list of [x, y] on the 0..255 grid")
    try:
        points = check_points(pairs)
    except BadSketch as bad:
        raise MalformedError(str(bad)) from bad
    until_cleared = body.get("until_cleared", False)
    if not isinstance(until_cleared, bool):
        raise MalformedError("until_cleared must be true or false")
    return replace(
        _freeze(body, request),
        points=tuple((float(x), float(y)) for x, y in points.tolist()),
        until_cleared=until_cleared,
    )


def _review(body: Body, request: Request) -> Request:
    return replace(request, plan=_whole(body, "plan", 2**53), choice=_choice(body, REVIEWS))


def _record(body: Body, request: Request) -> Request:
    request = replace(request, choice=_choice(body, RECORDING))
    return replace(request, instruction=_words(body, "task")) if body.get("task") else request


def _hand(body: Body, request: Request) -> Request:
    return replace(request, choice=_choice(body, HANDS))


def _train(body: Body, request: Request) -> Request:
    return replace(request, choice=_choice(body, TRAINING))


def _jog(body: Body, request: Request) -> Request:
    axes, buttons = body.get("axes"), body.get("buttons")
    if not (isinstance(axes, list) and len(axes) == AXES and all(map(_is_number, axes))):
        raise MalformedError(f"axes must be a list of {AXES} numbers")
    if not (isinstance(buttons, list) and len(buttons) == BUTTONS):
        raise MalformedError(f"buttons must be a list of {BUTTONS} times true or false")
    if not all(isinstance(b, bool) for b in buttons) or max(abs(float(a)) for a in axes) > 1.0:
        raise MalformedError("axes must lie in -1..1 and buttons must be true or false")
    return replace(request, axes=tuple(float(a) for a in axes), buttons=tuple(buttons))


def _drive(body: Body, request: Request) -> Request:
    want = body.get("want", True)
    if not isinstance(want, bool):
        raise MalformedError("want must be true or false")
    return replace(request, want=want)


def _choice(body: Body, choices: tuple[str, ...]) -> str:
    choice = body.get("choice")
    if not isinstance(choice, str) or choice not in choices:
        raise MalformedError(f"unknown choice; expected one of {', '.join(choices)}")
    return choice


def _whole(body: Body, name: str, limit: int) -> int:
    value = body.get(name)
    if not isinstance(value, int) or not _is_whole(value, limit):
        raise MalformedError(f"{name} must be a whole number")
    return value


def _is_whole(value: object, limit: int = 2**31) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < limit


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) < 1e9 and math.isfinite(value)


COMMANDS: Mapping[str, Callable[[Body, Request], Request]] = {
    "start": _start,
    "stop": _plain,
    "reset": _plain,
    "home": _plain,
    "new_scene": _plain,
    "ping": _ping,
    "freeze": _freeze,
    "preview": _drawn,
    "steer": _drawn,
    "clear": _plain,
    "review": _review,
    "record": _record,
    "hand": _hand,
    "train": _train,
    "jog": _jog,
    "drive": _drive,
}
