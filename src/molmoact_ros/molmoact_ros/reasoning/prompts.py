"""The fixed sentences between robot and model. They belong to the weights: never reword them.

A question and its answer must be byte-identical to what the checkpoint was trained on, so the
tests compare every sentence with a recorded sha256. Source: MolmoAct paper (arXiv 2508.07917)
appendix, the released model cards and the public fine-tuning loader.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

MAX_INSTRUCTION: Final = 300

R1: Final = (
    "The task is {task}. What is the action that the robot should take. To figure out the action"
    " that the robot should take to {task}, let's think through it step by step. First, what is the"
    " depth map for this image? Second, what is the trajectory of the end effector? Based on the"
    " depth map of the image and the trajectory of the end effector, what is the action that the"
    " robot should take?"
)
"""Reasoning, one picture."""

RN: Final = (
    "The task is {task}. What is the action that the robot should take. To figure out the action"
    " that the robot should take to {task}, let's think through it step by step. First, what is the"
    " depth map for the first image? Second, what is the trajectory of the end effector in the"
    " first image? Based on the depth map of the first image and the trajectory of the end effector"
    " in the first image, along with other images from different camera views as additional"
    " information, what is the action that the robot should take?"
)
"""Reasoning, several pictures (external view first, wrist second)."""

S1: Final = (
    "The task is {task}. Notice that the trajectory of the end effector is annotated on the image."
    " Based on the trajectory annotated on the image, what is the action that the robot should"
    " take?"
)
"""Steering, one picture: the trace is drawn on the picture and only the action is asked."""

SN: Final = (
    "The task is {task}. Notice that the trajectory of the end effector is annotated on the first"
    " image. Based on the trajectory annotated on the image, along with other images from different"
    " camera views as additional information, what is the action that the robot should take?"
)
"""Steering, several pictures; the trace is drawn on the first."""

R1_NO_DEPTH: Final = (
    "The task is {task}. What is the action that the robot should take. To figure out the action"
    " that the robot should take to {task}, let's think through it step by step. First, what is the"
    " trajectory of the end effector? Based on the trajectory of the end effector, what is the"
    " action that the robot should take?"
)
"""Reasoning without depth, one picture. Ours: no released checkpoint was asked so."""

RN_NO_DEPTH: Final = (
    "The task is {task}. What is the action that the robot should take. To figure out the action"
    " that the robot should take to {task}, let's think through it step by step. First, what is the"
    " trajectory of the end effector in the first image? Based on the trajectory of the end"
    " effector in the first image, along with other images from different camera views as"
    " additional information, what is the action that the robot should take?"
)
"""Reasoning without depth, several pictures. Ours."""

Wording = Literal["single", "multi", "finetune", "steering"]

ANSWERS: Final[Mapping[Wording, str]] = MappingProxyType(
    {
        "single": (
            "The depth map of the image is {depth}. The trajectory of the end effector is {trace}."
            " Based on these information, the action that the robot should take is {action}."
        ),
        "multi": (
            "The depth map of the first image is {depth}. The trajectory of the end effector in the"
            " first image is {trace}. Based on these information, along with other images from"
            " different camera views as additional information, the action that the robot should"
            " take is {action}."
        ),
        "finetune": (
            "The depth map of the image is {depth}. The trajectory of the left end effector is"
            " {trace}. The trajectory of the right end effector is {trace}. Based on this"
            " information, the action that the robot should take is {action}."
        ),
        "steering": (
            "Based on the image and the annotated trajectory of the end effector, the action that"
            " the robot should take is {action}."
        ),
    }
)
"""Answers, without the one leading blank that every answer starts with."""


class BadInstruction(ValueError):
    """An instruction that cannot be asked; the message tells the operator what to change."""


def answer_template(wording: Wording, depth: bool = True) -> str:
    """The sentences of an answer with {depth}, {trace} and {action}; without the depth sentence
    for data that have no depth. Raises ValueError for an unknown wording.
    """
    if wording not in ANSWERS:
        raise ValueError(f"Unknown wording {wording!r}; use one of: {', '.join(ANSWERS)}.")
    template = ANSWERS[wording]
    return template if depth else template.rpartition("{depth}. ")[2]


def question(instruction: str, images: int, steered: bool = False, depth: bool = True) -> str:
    """The question for ``images`` pictures about ``instruction``.

    ``steered`` asks for the action only and needs the trace drawn on the first picture
    (overlay.py). ``depth`` False does not ask for it (card field ``depth_source`` none). Raises
    BadInstruction, or ValueError without a picture.
    """
    if images < 1:
        raise ValueError(f"A question needs at least one picture, got {images}; check the cameras.")
    if steered:
        template = S1 if images == 1 else SN
    else:
        with_depth = R1 if images == 1 else RN
        template = with_depth if depth else R1_NO_DEPTH if images == 1 else RN_NO_DEPTH
    return template.replace("{task}", check_instruction(instruction))


def chat_text(text: str) -> str:
    """A question in the model's chat form; the answer follows directly and starts with a blank."""
    return f"User: {text} Assistant:"


def check_instruction(instruction: str) -> str:
    """The instruction without blanks around it and without a final stop (the template adds one).

    Raises BadInstruction when it is empty, longer than 300 characters or several lines, or holds
    braces (place-holders) or angle brackets (they could spell a control token of the model).
    """
    text = instruction.strip().removesuffix(".").rstrip()
    if not text:
        raise BadInstruction(
            "The instruction is empty; write what to do, e.g. 'pick up the red cube'."
        )
    if len(text) > MAX_INSTRUCTION:
        raise BadInstruction(
            f"The instruction has {len(text)} characters; shorten it to {MAX_INSTRUCTION} or fewer."
        )
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text):
        raise BadInstruction(
            "The instruction has a line break or control character; write it as one plain line."
        )
    if forbidden := sorted(set(text) & set("{}<>")):
        raise BadInstruction(
            f"The instruction contains {' '.join(forbidden)}; write it without braces and angle"
            " brackets."
        )
    return text
