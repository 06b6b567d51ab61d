"""What went wrong with the arm, who may clear it, and what to tell the person beside it.

Only three families are cleared without a person: a reflex (the arm touched something and let
go), a discontinuity and a lost connection. A user stop, a limit or anything unknown means that
somebody has to look first.
"""

from __future__ import annotations

import enum
import re
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


class Kind(enum.Enum):
    """Families of faults; the value is how they are called in messages."""

    REFLEX = "collision reflex"
    DISCONTINUITY = "discontinuity"
    COMMUNICATION = "lost connection"
    USER_STOP = "user stop"
    MANUAL = "fault that needs a person"


AUTOMATIC = frozenset({Kind.REFLEX, Kind.DISCONTINUITY, Kind.COMMUNICATION})
_REMEDY = {
    Kind.REFLEX: "look whether the arm touches something and free it, then recover and arm",
    Kind.DISCONTINUITY: "recover and arm; if it returns, lower the speed limits",
    Kind.COMMUNICATION: "check the cable to the robot's control box, a direct connection without "
    "a switch, and the load of this computer; the driver keeps trying",
    Kind.USER_STOP: "release the user stop (black button), look that nobody is near the arm, "
    "then recover and arm",
    Kind.MANUAL: "open Desk in a browser, follow what it says there (unlock, move the joint back "
    "by hand), then recover and arm",
}


@dataclass(frozen=True)
class Fault:
    """A fault, the robot's own error names, and the words for a person."""

    kind: Kind
    errors: tuple[str, ...] = ()
    text: str = ""

    @property
    def automatic(self) -> bool:
        """Whether it may be cleared without a person."""
        return self.kind in AUTOMATIC

    @property
    def detail(self) -> str:
        """One sentence: what happened and what to do."""
        what = ", ".join(self.errors) or self.text or "no further word from the robot"
        return f"{self.kind.value} ({what}): {_REMEDY[self.kind]}"


def classify(text: str, errors: Iterable[str] = (), robot_mode: str = "") -> Fault:
    """The fault behind an exception's text, the robot's error flags and its mode.

    Error names are libfranka's (include/franka/errors.h); those quoted in the text count too.
    One error outside the automatic families makes the whole fault one for a person.
    """
    flat = " ".join(text.split())[:300]
    names = tuple(dict.fromkeys([*errors, *re.findall(r'"([a-z_]+)"', flat)]))
    low = flat.lower()
    if robot_mode == "UserStopped" or "user stop" in low or "safety function" in low:
        return Fault(Kind.USER_STOP, names, flat)
    kinds = {_kind_of(name) for name in names}
    if not kinds and _is_network(low):
        kinds = {Kind.COMMUNICATION}
    if not kinds and "reflex" in low:
        kinds = {Kind.REFLEX}
    if len(kinds) == 1 or (kinds and Kind.MANUAL not in kinds):
        return Fault(sorted(kinds, key=lambda kind: kind.value)[0], names, flat)
    return Fault(Kind.MANUAL, names, flat)


def _kind_of(name: str) -> Kind:
    if name in ("joint_reflex", "cartesian_reflex"):
        return Kind.REFLEX
    if name.endswith("_discontinuity"):
        return Kind.DISCONTINUITY
    if name == "communication_constraints_violation":
        return Kind.COMMUNICATION
    return Kind.MANUAL


def _is_network(low: str) -> bool:
    words = ("net exception", "udp", "tcp", "timeout", "connection", "network", "host")
    return any(word in low for word in words)


class RecoveryBudget:
    """At most ``count`` automatic recoveries within ``window_s``: an arm that keeps hitting
    something is not helped by trying again. Times are seconds of the caller's clock.

    ``counts`` are the recoveries, ``faults`` all faults since the start, by family.
    """

    def __init__(self, count: int = 3, window_s: float = 60.0) -> None:
        self._count, self._window_s = count, window_s
        self._spent: deque[float] = deque()
        self.counts: Counter[Kind] = Counter()
        self.faults: Counter[Kind] = Counter()

    @property
    def total(self) -> int:
        """Automatic recoveries since the start."""
        return self.counts.total()

    def spend(self, now: float, kind: Kind) -> bool:
        """Use one recovery; False when none is left at ``now``."""
        while self._spent and self._spent[0] <= now - self._window_s:
            self._spent.popleft()
        if len(self._spent) >= self._count:
            return False
        self._spent.append(now)
        self.counts[kind] += 1
        return True


def named(counts: Mapping[Kind, int]) -> dict[str, int]:
    """Counters by the families' names, for messages."""
    return {kind.value: number for kind, number in counts.items()}
