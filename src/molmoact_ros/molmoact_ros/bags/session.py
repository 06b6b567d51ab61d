"""An operator's way through a list of tasks: what comes next, how many there are, what to change.

Pure state; the recorder tells it what was labelled. Counts survive a restart, because they are
read from the bags themselves (``molmoact_ros.bags.episodes``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

NEXT = -1
MAX_TASKS = 200


class BadSession(ValueError):
    """A task list or choice that cannot be used; says what to change."""


@dataclass
class Count:
    """Episodes of one task, by how they went."""

    task: str
    wanted: int = 0
    success: int = 0
    failure: int = 0
    discard: int = 0
    unlabelled: int = 0

    @property
    def missing(self) -> bool:
        return self.wanted > 0 and self.success < self.wanted


@dataclass
class Session:
    """tasks in the order an operator sees them; ``index`` points at the next take's."""

    operator: str = ""
    scene: str = ""
    scene_change_every: int = 0
    tasks: list[Count] = field(default_factory=list)
    index: int = 0
    _since_change: int = 0
    _history: dict[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def task(self) -> str:
        """Instruction of the next take; empty without a list."""
        return self.tasks[self.index].task if self.tasks else ""

    @property
    def prompt(self) -> str:
        """What the operator should do before the next take; empty: start."""
        if self.scene_change_every and self._since_change >= self.scene_change_every:
            return (
                f"{self._since_change} successes in this scene: move the objects, or change light "
                "or background, then confirm"
            )
        if self.tasks and self.tasks[0].wanted and not any(c.missing for c in self.tasks):
            return "all tasks have enough successes: configure more, or stop here"
        return ""

    def configure(
        self,
        tasks: Sequence[str] = (),
        wanted: int = 0,
        scene_change_every: int = 0,
        operator: str = "",
        scene: str = "",
    ) -> None:
        """Replace the list (empty: keep it). Counts of tasks that stay are kept.

        Raises BadSession.
        """
        cleaned = [" ".join(task.split()) for task in tasks]
        if any(not task for task in cleaned) or len(set(cleaned)) != len(cleaned):
            raise BadSession("the task list holds an empty or repeated line; remove it")
        if len(cleaned) > MAX_TASKS:
            raise BadSession(f"{len(cleaned)} tasks; give at most {MAX_TASKS}")
        if cleaned:
            known = {count.task: count for count in self.tasks}
            current = self.task
            self.tasks = [known.get(task) or Count(task) for task in cleaned]
            self._recount()
            self.index = cleaned.index(current) if current in cleaned else 0
        for count in self.tasks:
            count.wanted = wanted
        self.scene_change_every = scene_change_every
        self.operator = operator or self.operator
        if scene and scene != self.scene:
            self.scene = scene
            self._since_change = 0

    def scene_changed(self) -> None:
        self._since_change = 0

    def select(self, index: int) -> str:
        """Choose a task by number or NEXT, which lacks successes. Raises BadSession."""
        if not self.tasks:
            raise BadSession("there is no task list; call configure_session first")
        if index == NEXT:
            order = [(self.index + 1 + i) % len(self.tasks) for i in range(len(self.tasks))]
            missing = [i for i in order if self.tasks[i].missing]
            index = (missing or order)[0]
        if not 0 <= index < len(self.tasks):
            raise BadSession(f"task {index}: there are {len(self.tasks)}, count from 0")
        self.index = index
        return self.task

    def recorded(self, episode_id: str, task: str, outcome: str) -> None:
        """An episode was saved or labelled (again). outcome "": not labelled yet."""
        before = self._history.get(episode_id)
        self._history[episode_id] = (task, outcome)
        if outcome == "success" and (before is None or before[1] != "success"):
            self._since_change += 1
        elif before is not None and before[1] == "success" and outcome != "success":
            self._since_change = max(0, self._since_change - 1)
        self._recount()
        current = self.tasks[self.index] if self.tasks else None
        if current is None or outcome != "success" or current.task != task:
            return
        # A task that has enough gives way to one that has not.
        if current.wanted and not current.missing and any(c.missing for c in self.tasks):
            self.select(NEXT)

    def restore(self, episodes: Iterable[tuple[str, str, str]]) -> None:
        """Episodes of earlier days: (id, task, outcome)."""
        for episode_id, task, outcome in episodes:
            self._history[episode_id] = (task, outcome)
        self._recount()

    def _recount(self) -> None:
        for count in self.tasks:
            outcomes = [o for task, o in self._history.values() if task == count.task]
            count.success = outcomes.count("success")
            count.failure = outcomes.count("failure")
            count.discard = outcomes.count("discard")
            count.unlabelled = outcomes.count("")
