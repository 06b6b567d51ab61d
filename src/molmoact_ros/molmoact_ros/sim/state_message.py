"""libfranka's robot state as one block of numbers that is updated in place.

franky-sim packs 46 fields one after another, a tenth of a millisecond each millisecond. Here
every field is a view into one array; sending is one conversion to float32.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from itertools import accumulate

import numpy as np
from franky_sim.franka_robot_state import FrankaRobotState

from molmoact_ros.geometry import Floats

# libfranka common, research_interface robot/rbk_types: RobotState, in wire order (all float32).
FLOATS: Mapping[str, int] = {
    "O_T_EE": 16,
    "O_T_EE_d": 16,
    "F_T_EE": 16,
    "EE_T_K": 16,
    "F_T_NE": 16,
    "NE_T_EE": 16,
    "m_ee": 1,
    "I_ee": 9,
    "F_x_Cee": 3,
    "m_load": 1,
    "I_load": 9,
    "F_x_Cload": 3,
    "elbow": 2,
    "elbow_d": 2,
    "tau_J": 7,
    "tau_J_d": 7,
    "dtau_J": 7,
    "q": 7,
    "q_d": 7,
    "dq": 7,
    "dq_d": 7,
    "ddq_d": 7,
    "joint_contact": 7,
    "cartesian_contact": 6,
    "joint_collision": 7,
    "cartesian_collision": 6,
    "tau_ext_hat_filtered": 7,
    "O_F_ext_hat_K": 6,
    "K_F_ext_hat_K": 6,
    "O_dP_EE_d": 6,
    "O_ddP_O": 3,
    "elbow_c": 2,
    "delbow_c": 2,
    "ddelbow_c": 2,
    "O_T_EE_c": 16,
    "O_dP_EE_c": 6,
    "O_ddP_EE_c": 6,
    "theta": 7,
    "dtheta": 7,
    "accelerometer_top": 18,
    "accelerometer_bottom": 18,
}
# What follows: motion generator mode, controller mode, errors, reflex reasons, robot mode (one
# byte each) and the success rate.
ERROR_COUNT = 41
_TAIL = struct.Struct(f"<BB{ERROR_COUNT}s{ERROR_COUNT}sBf")
_ENDS = list(accumulate(FLOATS.values()))
_COUNT = _ENDS[-1]
SIZE = 4 * _COUNT + _TAIL.size
_POSES = ("O_T_EE", "O_T_EE_d", "F_T_EE", "EE_T_K", "F_T_NE", "NE_T_EE", "O_T_EE_c")


class StateMessage:
    """The message's numbers; units, frames and column-major poses as in franka::RobotState."""

    def __init__(self) -> None:
        self._values: Floats = np.zeros(_COUNT)
        self._fields = {
            name: self._values[end - FLOATS[name] : end]
            for name, end in zip(FLOATS, _ENDS, strict=True)
        }
        for name in _POSES:
            self._fields[name][::5] = 1.0
        self._bytes = bytearray(SIZE)
        self._floats = np.frombuffer(self._bytes, dtype="<f4", count=_COUNT)

    def field(self, name: str) -> Floats:
        """View of a field; what is written into it is sent next. KeyError for another name."""
        return self._fields[name]

    def pose(self, name: str) -> Floats:
        """Such a view of a pose, as [4, 4]."""
        return self._fields[name].reshape(4, 4).T

    def pack(
        self, modes: tuple[int, int], errors: bytes, reflex_reason: bytes, robot_mode: int
    ) -> bytes:
        """The message behind its counter. modes: motion generator's, controller's.

        errors, reflex_reason: [41] bytes of 0 and 1.
        """
        self._floats[:] = self._values
        _TAIL.pack_into(self._bytes, 4 * _COUNT, *modes, errors, reflex_reason, robot_mode, 1.0)
        return bytes(self._bytes)


def check_layout() -> None:
    """Raises RuntimeError when the installed franky-sim sends another message."""
    size = len(FrankaRobotState().pack_state())
    if size != SIZE:
        raise RuntimeError(
            f"franky-sim's state message has {size} bytes, {SIZE} expected: this is not version "
            "1.0.4. Install the pinned one: pip install franky-sim==1.0.4"
        )
