"""From a sentence to a task: every wording is understood, nothing is guessed."""

from __future__ import annotations

import pytest

from molmoact_ros.sim import tasks
from molmoact_ros.sim.tasks import Task

EVERY_TASK = [
    Task(family, cube, target)
    for family in tasks.FAMILIES
    for cube in tasks.CUBES
    for target in (
        {tasks.PICK_UP: [None], tasks.PUT_ON: ["plate"], tasks.PUT_INTO: ["bowl"]}.get(family)
        or [other for other in tasks.CUBES if other != cube]
    )
]


def test_every_wording_of_every_task_comes_back() -> None:
    """The expert and the scorer read the sentence; both must see the sampled task."""
    for task in EVERY_TASK:
        for wording in range(len(tasks.WORDINGS[task.family])):
            sentence = task.instruction(wording)
            assert tasks.parse_instruction(sentence) == task, sentence


def test_families_have_several_wordings() -> None:
    assert set(tasks.WORDINGS) == set(tasks.FAMILIES)
    for wordings in tasks.WORDINGS.values():
        assert len(set(wordings)) >= 4


@pytest.mark.parametrize(
    ("sentence", "task"),
    [
        ("Put the RED cube onto the plate, please!", Task("put_on", "red_cube", "plate")),
        ("could you lift the blue block?", Task("pick_up", "blue_cube")),
        ("  put red block in bowl ", Task("put_into", "red_cube", "bowl")),
        ("move the yellow cube to the bowl.", Task("put_into", "yellow_cube", "bowl")),
        (
            "pick the green one up and place it on the plate",
            Task("put_on", "green_cube", "plate"),
        ),
        (
            "Bring the blue brick close to the red brick",
            Task("move_next_to", "blue_cube", "red_cube"),
        ),
    ],
)
def test_other_people_say_it_differently(sentence: str, task: Task) -> None:
    assert tasks.understand(sentence) == task


@pytest.mark.parametrize(
    "sentence",
    [
        "",
        "hello",
        "pick up the cube",
        "pick up the purple ball",
        "pick up the purple box next to the red cube",
        "put the red cube on the blue cube",
        "stack the red cube on the blue cube",
        "put the plate on the red cube",
        "put the red cube next to the plate",
        "do not pick up the red cube",
        "don't lift the red cube",
        "take the red cube out of the bowl",
        "put the red and the blue cube into the bowl",
        "put the red cube on the plate and the green cube in the bowl",
        "move the red cube next to the red cube",
        "put the blue cube on the table",
        "pick up the red cube then put it on the plate",
        "push the red cube",
    ],
)
def test_what_cannot_be_done_is_refused_with_what_can(sentence: str) -> None:
    """Doing half of a sentence, or the opposite, is worse than asking again."""
    assert tasks.parse_instruction(sentence) is None
    with pytest.raises(tasks.InstructionError) as refusal:
        tasks.understand(sentence)
    for hint in ("pick up", "plate", "bowl", "next to", "red", "yellow"):
        assert hint in str(refusal.value)


@pytest.mark.parametrize("family", tasks.FAMILIES)
def test_sampled_tasks_repeat_and_vary(family: str) -> None:
    """A benchmark row must be repeatable, and ten seeds must not be one task."""
    drawn = [tasks.sample_task(family, seed) for seed in range(40)]
    assert drawn == [tasks.sample_task(family, seed) for seed in range(40)]
    assert {task.cube for task in drawn} == set(tasks.CUBES)
    sentences = {tasks.sample_instruction(family, seed) for seed in range(40)}
    assert len(sentences) > 8
    for seed, task in enumerate(drawn):
        assert tasks.parse_instruction(tasks.sample_instruction(family, seed)) == task


@pytest.mark.parametrize(
    ("family", "cube", "target"),
    [
        ("put_on", "red_cube", "bowl"),
        ("pick_up", "red_cube", "plate"),
        ("move_next_to", "red_cube", "red_cube"),
        ("pick_up", "purple_cube", None),
        ("throw", "red_cube", None),
    ],
)
def test_impossible_tasks_cannot_be_built(family: str, cube: str, target: str | None) -> None:
    with pytest.raises(ValueError, match="must be one of"):
        Task(family, cube, target)


def test_an_unknown_family_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="move_next_to"):
        tasks.sample_task("stack", 0)
