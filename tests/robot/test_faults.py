"""Which faults a machine may clear, and what a person is told."""

from __future__ import annotations

import pytest

from molmoact_ros.robot.faults import Kind, RecoveryBudget, classify, named


@pytest.mark.parametrize(
    ("text", "errors", "mode", "kind"),
    [
        ('aborted: motion aborted by reflex! ["cartesian_reflex"]', (), "Reflex", Kind.REFLEX),
        ("", ("joint_reflex",), "Reflex", Kind.REFLEX),
        ("", ("controller_torque_discontinuity",), "Reflex", Kind.DISCONTINUITY),
        ("", ("communication_constraints_violation",), "Reflex", Kind.COMMUNICATION),
        ("libfranka: UDP receive: Timeout", (), "", Kind.COMMUNICATION),
        ("Net Exception", (), "", Kind.COMMUNICATION),
        ("", ("cartesian_reflex",), "UserStopped", Kind.USER_STOP),
        ("preempted due to activated safety function!", (), "Idle", Kind.USER_STOP),
        ("", ("joint_position_limits_violation",), "Reflex", Kind.MANUAL),
        ("", ("cartesian_reflex", "joint_position_limits_violation"), "Reflex", Kind.MANUAL),
        ("something nobody has seen before", (), "Other", Kind.MANUAL),
    ],
)
def test_faults_fall_into_their_family(
    text: str, errors: tuple[str, ...], mode: str, kind: Kind
) -> None:
    """A limit or an unknown fault cleared by a machine would move an arm nobody looked at."""
    fault = classify(text, errors, mode)
    assert fault.kind is kind
    assert fault.automatic == (kind in (Kind.REFLEX, Kind.DISCONTINUITY, Kind.COMMUNICATION))
    assert kind.value in fault.detail and len(fault.detail) > 40


def test_three_recoveries_a_minute_and_no_more() -> None:
    """An arm that hits the same thing again and again must stay where it is."""
    budget = RecoveryBudget()
    spent = [budget.spend(t, Kind.REFLEX) for t in (0.0, 10.0, 20.0, 30.0, 59.9)]
    assert spent == [True] * 3 + [False] * 2
    assert budget.spend(60.1, Kind.COMMUNICATION)
    assert budget.total == 4
    assert named(budget.counts) == {"collision reflex": 3, "lost connection": 1}
