"""3Dconnexion SpaceMouse over plain HID: reports to a hand, and the reader of a connected one.

Needs the ``hid`` module (PyPI hidapi) and read permission for the device.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from molmoact_ros.teleop.hand import BadDevice, Hand

VENDORS = (0x256F, 0x046D)
"""3Dconnexion; Logitech, under whose number the older ones were sold."""
PRODUCTS = frozenset(
    {0xC626, 0xC627, 0xC628, 0xC629, 0xC62B, 0xC62E, 0xC62F, 0xC631, 0xC632, 0xC633, 0xC635}
    | {0xC638, 0xC63A, 0xC641, 0xC652}
)
FULL = 350.0
"""Counts of a full deflection."""
LEFT, RIGHT = 1, 2


class SpaceMouseReports:
    """Puts the reports of one device together.

    The device's axes are x right, y towards the person, z down; a hand's are forward, left, up.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(6)
        self._buttons = 0

    def feed(self, report: bytes) -> None:
        """One HID report with its number in front; unknown ones are ignored."""
        if len(report) >= 13 and report[0] == 1:
            self._counts[:] = struct.unpack_from("<6h", report, 1)
        elif len(report) >= 7 and report[0] in (1, 2):
            start = 0 if report[0] == 1 else 3
            self._counts[start : start + 3] = struct.unpack_from("<3h", report, 1)
        elif len(report) >= 2 and report[0] == 3:
            self._buttons = report[1]

    @property
    def hand(self) -> Hand:
        """The left button is the dead-man switch, the right one toggles the gripper."""
        x, y, z, rx, ry, rz = self._counts / FULL
        return Hand(
            np.array([-y, -x, -z, -ry, -rx, -rz]),
            dead_man=bool(self._buttons & LEFT),
            toggle=bool(self._buttons & RIGHT),
        )


class SpaceMouse:
    """An opened SpaceMouse; ``poll`` never blocks. Raises BadDevice from the constructor."""

    def __init__(self) -> None:
        try:
            import hid
        except ImportError as error:
            raise BadDevice(
                "the SpaceMouse needs the hid module: pip install hidapi==0.15.0 (and on Ubuntu "
                "apt install libhidapi-hidraw0)"
            ) from error
        self._device = _open(hid)
        self._reports = SpaceMouseReports()

    def poll(self) -> Hand:
        """The hand as of the newest report. Raises BadDevice when it was unplugged."""
        try:
            while report := bytes(self._device.read(64)):
                self._reports.feed(report)
        except OSError as error:
            raise BadDevice(f"the SpaceMouse is gone ({error}); plug it in again") from error
        return self._reports.hand

    def close(self) -> None:
        self._device.close()


def _open(hid: Any) -> Any:
    found = [
        entry
        for vendor in VENDORS
        for entry in hid.enumerate(vendor, 0)
        if entry["product_id"] in PRODUCTS
    ]
    if not found:
        raise BadDevice("no SpaceMouse is connected; plug it in (wireless: its receiver)")
    device = hid.device()
    try:
        device.open_path(found[0]["path"])
    except OSError as error:
        raise BadDevice(
            f"the SpaceMouse cannot be opened ({error}); allow it with a udev rule: "
            'KERNEL=="hidraw*", ATTRS{idVendor}=="256f", MODE="0666"'
        ) from error
    device.set_nonblocking(True)
    return device
