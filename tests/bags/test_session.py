"""An operator works through tasks; the session knows what is next and what is enough."""

from __future__ import annotations

import pytest

from molmoact_ros.bags.session import NEXT, BadSession, Session


def _session(wanted: int = 2) -> Session:
    session = Session()
    session.configure(["a", "b", "c"], wanted=wanted)
    return session


def test_a_task_with_enough_successes_gives_way() -> None:
    session = _session()
    session.recorded("1", "a", "success")
    assert session.task == "a"
    session.recorded("2", "a", "failure")
    session.recorded("3", "a", "success")
    assert session.task == "b"
    assert (session.tasks[0].success, session.tasks[0].failure) == (2, 1)


def test_a_changed_label_is_not_counted_twice() -> None:
    session = _session()
    for outcome in ("", "success", "success", "discard"):
        session.recorded("1", "a", outcome)
    count = session.tasks[0]
    assert (count.success, count.discard, count.unlabelled) == (0, 1, 0)


def test_next_skips_what_is_complete() -> None:
    session = _session(wanted=1)
    session.recorded("1", "b", "success")
    assert session.select(NEXT) == "c"
    assert session.select(NEXT) == "a"
    assert session.select(1) == "b"
    with pytest.raises(BadSession, match="count from 0"):
        session.select(3)


def test_a_scene_change_is_asked_for_and_confirmed() -> None:
    session = _session(wanted=0)
    session.configure(scene_change_every=2)
    session.recorded("1", "a", "success")
    session.recorded("2", "a", "failure")
    assert session.prompt == ""
    session.recorded("3", "a", "success")
    assert "move the objects" in session.prompt
    session.scene_changed()
    assert session.prompt == ""


def test_all_done_is_said() -> None:
    session = _session(wanted=1)
    for name in "abc":
        session.recorded(name, name, "success")
    assert "enough" in session.prompt


def test_counts_survive_restart_and_a_new_list() -> None:
    session = Session()
    session.restore([("1", "a", "success"), ("2", "z", "success"), ("3", "a", "")])
    session.configure(["b", "a"], wanted=3)
    assert [c.success for c in session.tasks] == [0, 1]
    assert session.tasks[1].unlabelled == 1
    session.select(1)
    session.configure(["a", "z"], wanted=3)
    assert session.task == "a" and session.tasks[1].success == 1


@pytest.mark.parametrize("tasks", [["a", "a"], ["a", " "], ["x"] + [str(i) for i in range(300)]])
def test_lists_that_cannot_be_meant_are_refused(tasks: list[str]) -> None:
    with pytest.raises(BadSession):
        Session().configure(tasks)


def test_without_a_list_nothing_is_next() -> None:
    session = Session()
    assert session.task == "" and session.prompt == ""
    session.recorded("1", "free words", "success")
    with pytest.raises(BadSession, match="configure_session"):
        session.select(NEXT)
