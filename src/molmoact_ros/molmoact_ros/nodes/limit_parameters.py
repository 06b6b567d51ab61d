"""The safety table as node parameters; commander and arm driver declare the same."""

from __future__ import annotations

from collections.abc import Sequence

from molmoact_ros.control.limits import Limits
from molmoact_ros.nodes.runtime import ManagedNode, SetupError


def declare_limits(node: ManagedNode) -> None:
    """One parameter for each limit that a set-up may want to change."""
    declare, limits = node.declare, Limits()
    declare("step_m", limits.step_m, "longest row in metres", (1e-4, 0.1))
    declare("step_rad", limits.step_rad, "largest row in radians", (1e-3, 0.5))
    declare("seam_m", limits.seam_m, "largest jump between chunks", (1e-3, 0.2))
    declare("seam_rad", limits.seam_rad, "largest turn between chunks", (1e-2, 1.0))
    declare("speed_m_s", limits.speed_m_s, "fastest target", (0.01, 1.0))
    declare("speed_rad_s", limits.speed_rad_s, "fastest turn", (0.01, 2.0))
    declare("acceleration_m_s2", limits.acceleration_m_s2, "of the target", (0.1, 9.0))
    declare("box_min_m", list(limits.box_min_m), "workspace corner x y z, base frame")
    declare("box_max_m", list(limits.box_max_m), "workspace corner x y z, base frame")
    declare("tilt_rad", limits.tilt_rad, "largest tilt of the tool from vertical", (0.0, 1.6))
    declare("observation_age_s", limits.observation_age_s, "older images: refused", (0.1, 10.0))
    declare("tracking_error_m", limits.tracking_error_m, "further from the arm: hold", (0.01, 0.2))


def limits_from(node: ManagedNode) -> Limits:
    """Raises SetupError for limits that make no sense together."""
    names = (
        "step_m",
        "step_rad",
        "seam_m",
        "seam_rad",
        "speed_m_s",
        "speed_rad_s",
        "acceleration_m_s2",
        "tilt_rad",
        "observation_age_s",
        "tracking_error_m",
    )
    try:
        return Limits(
            **{name: float(node.value(name)) for name in names},
            box_min_m=_corner(node.value("box_min_m")),
            box_max_m=_corner(node.value("box_max_m")),
        )
    except ValueError as error:
        raise SetupError(str(error)) from error


def _corner(values: Sequence[float]) -> tuple[float, float, float]:
    numbers = [float(v) for v in values]
    if len(numbers) != 3:
        raise SetupError(f"a workspace corner has {len(numbers)} numbers, expected x, y, z")
    return numbers[0], numbers[1], numbers[2]
