"""What the simulated robot can be asked, in words: four families, many wordings, one parser.

Success is judged in ``judge``. A task names bodies of ``objects``; wordings are data so that
datasets and tests can count them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from molmoact_ros.sim.objects import BOWL, COLOURS, CUBES, PLATE

PICK_UP, PUT_ON, PUT_INTO, MOVE_NEXT_TO = "pick_up", "put_on", "put_into", "move_next_to"
FAMILIES = (PICK_UP, PUT_ON, PUT_INTO, MOVE_NEXT_TO)

WORDINGS: dict[str, tuple[str, ...]] = {
    PICK_UP: (
        "pick up the {cube} cube",
        "lift the {cube} cube",
        "grab the {cube} block and lift it up",
        "raise the {cube} cube off the table",
        "take the {cube} block",
    ),
    PUT_ON: (
        "put the {cube} cube on the plate",
        "place the {cube} cube on the plate",
        "move the {cube} block onto the plate",
        "set the {cube} cube down on the white plate",
        "pick up the {cube} cube and put it on the plate",
    ),
    PUT_INTO: (
        "put the {cube} cube into the bowl",
        "place the {cube} block in the bowl",
        "drop the {cube} cube into the bowl",
        "move the {cube} cube into the dark bowl",
        "pick up the {cube} cube and put it in the bowl",
    ),
    MOVE_NEXT_TO: (
        "move the {cube} cube next to the {other} cube",
        "put the {cube} block beside the {other} block",
        "place the {cube} cube near the {other} cube",
        "set the {cube} cube down close to the {other} one",
        "bring the {cube} cube next to the {other} cube",
    ),
}

WHAT_CAN_BE_ASKED = (
    "I can pick up a cube, put a cube on the plate, put a cube into the bowl, or move a cube "
    "next to another cube; cubes are " + ", ".join(COLOURS[:-1]) + f" and {COLOURS[-1]}. "
    'For example: "put the red cube on the plate".'
)

_COLOUR = re.compile(r"\b(" + "|".join(COLOURS) + r")\b")
_CUBE = re.compile(r"\b(cubes?|blocks?|bricks?|ones?|boxe?s?)\b")
_BESIDE = re.compile(r"\b(next to|besides?|near|close to|by|alongside|adjacent to|together with)\b")
_ONTO = re.compile(r"\b(on|onto|on top of|upon|to)\b")
_INTO = re.compile(r"\b(in|into|inside|to)\b")
_LIFT = re.compile(r"\b(pick|lift|grab|grasp|raise|take|hold)\b")
_MOVE = re.compile(r"\b(put|place|move|set|drop|bring|lay|get|carry|transfer|pick)\b")
_REFUSED = re.compile(
    r"\b(not|don t|dont|never|without|stack|out of|off the plate|from the (?:plate|bowl)|then"
    r"|except|push|throw|all|every|both|behind|under|between|left|right|in front|ball|sphere"
    r"|cylinder|purple|violet|orange|cyan|pink|brown)\b"
)


class InstructionError(ValueError):
    """The sentence cannot be served; the message says why and what can be asked."""


@dataclass(frozen=True)
class Task:
    """family, the cube to move (body name), and where to: plate, bowl, a cube, or None."""

    family: str
    cube: str
    target: str | None = None

    def __post_init__(self) -> None:
        targets: dict[str, tuple[str | None, ...]] = {
            PICK_UP: (None,),
            PUT_ON: (PLATE,),
            PUT_INTO: (BOWL,),
            MOVE_NEXT_TO: tuple(name for name in CUBES if name != self.cube),
        }
        allowed = targets.get(self.family, ())
        if self.cube not in CUBES or self.target not in allowed:
            raise ValueError(
                f"No such task: {self.family}({self.cube}, {self.target}); families are "
                f"{FAMILIES}, cubes {CUBES}, and here the target must be one of {allowed}."
            )

    def instruction(self, wording: int = 0) -> str:
        """The task in words; any whole number picks one of its family's wordings."""
        choices = WORDINGS[self.family]
        other = (self.target or "").removesuffix("_cube")
        template = choices[wording % len(choices)]
        return template.format(cube=self.cube.removesuffix("_cube"), other=other)


def sample_task(family: str, seed: int) -> Task:
    """A task of ``family``, the same for the same seed. Raises ValueError for no family."""
    if family not in FAMILIES:
        raise ValueError(f"Unknown task family {family!r}; choose one of {FAMILIES}.")
    rng = np.random.default_rng([4, FAMILIES.index(family), seed])
    cube, other = (str(name) for name in rng.permutation(CUBES)[:2])
    target = {PICK_UP: None, PUT_ON: PLATE, PUT_INTO: BOWL, MOVE_NEXT_TO: other}[family]
    return Task(family, cube, target)


def sample_instruction(family: str, seed: int) -> str:
    """``sample_task`` in a wording that the seed picks too."""
    return sample_task(family, seed).instruction(int(np.random.default_rng([5, seed]).integers(99)))


def parse_instruction(text: str) -> Task | None:
    """The task a sentence asks for, or None; ``understand`` says why it is None."""
    try:
        return understand(text)
    except InstructionError:
        return None


def understand(text: str) -> Task:
    """The task a sentence asks for.

    Tolerates case, punctuation and other wordings than ``WORDINGS``; never guesses: a
    sentence with two goals, an unknown thing or a negation raises InstructionError.
    """
    words = " ".join(re.sub(r"[^a-z ]+", " ", text.lower()).split())
    colours = list(_COLOUR.finditer(words))
    if not words:
        raise InstructionError(f"The instruction is empty. {WHAT_CAN_BE_ASKED}")
    refused = _REFUSED.search(words)
    if refused:
        raise InstructionError(
            f'I do not understand "{refused.group()}" in "{text.strip()}". {WHAT_CAN_BE_ASKED}'
        )
    if not colours:
        raise InstructionError(f'Which cube? "{text.strip()}" names none. {WHAT_CAN_BE_ASKED}')
    task = _task(words, colours)
    if task is None:
        raise InstructionError(f'I cannot do "{text.strip()}". {WHAT_CAN_BE_ASKED}')
    return task


def _task(words: str, colours: list[re.Match[str]]) -> Task | None:
    cube, rest = f"{colours[0].group()}_cube", words[colours[0].end() :]
    dishes = re.findall(rf"\b({PLATE}|{BOWL})\b", words)
    if not _CUBE.search(words) or len(dishes) > 1 or len(colours) > 2:
        return None
    if len(colours) == 2:
        beside = _MOVE.search(words) and _BESIDE.search(rest)
        if dishes or not beside or colours[1].group() == colours[0].group():
            return None
        return Task(MOVE_NEXT_TO, cube, f"{colours[1].group()}_cube")
    if dishes:
        # "the plate" must come after the cube: "put the plate on the red cube" is no task.
        between = rest.partition(dishes[0])
        link = _ONTO if dishes[0] == PLATE else _INTO
        if not (between[1] and _MOVE.search(words) and link.search(between[0])):
            return None
        if _BESIDE.search(between[0]):
            return None
        return Task(PUT_ON, cube, PLATE) if dishes[0] == PLATE else Task(PUT_INTO, cube, BOWL)
    return Task(PICK_UP, cube) if _LIFT.search(words) and not _BESIDE.search(words) else None
