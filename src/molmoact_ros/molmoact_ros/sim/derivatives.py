"""Low-passed finite differences of several quantities at once.

The same numbers as franky-sim's trackers give, which run one by one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from molmoact_ros.geometry import Floats

TICK_S = 0.001
KEEP = 0.95  # franky-sim's filter: what stays of a derivative after a tick


class Derivatives:
    """``sources``: arrays by name that the owner keeps up to date."""

    def __init__(self, sources: Mapping[str, Floats]) -> None:
        self._sources = tuple(sources.values())
        count, at = sum(source.size for source in self._sources), 0
        self._values, self._last, self._rates = np.zeros(count), np.zeros(count), np.zeros(count)
        self._step = np.zeros(count)
        self._parts: dict[str, slice] = {}
        for name, source in sources.items():
            self._parts[name] = slice(at, at + source.size)
            at += source.size
        self._pauses: dict[str, int] = {}
        self._started = False

    def rate(self, name: str) -> Floats:
        """View of a quantity's filtered derivative, per second."""
        return self._rates[self._parts[name]]

    def restart(self) -> None:
        """Take the next values as standing still."""
        self._rates[:] = 0.0
        self._pauses.clear()
        self._started = False

    def update(self, paused: Collection[str] = ()) -> None:
        """One tick. ``paused`` quantities got no new value: their derivative stays."""
        np.concatenate(self._sources, out=self._values)
        if not self._started:
            self._last[:] = self._values
            self._started = True
        elif paused or self._pauses:
            self._update_each(paused)
        else:
            np.subtract(self._values, self._last, out=self._step)
            self._step *= (1.0 - KEEP) / TICK_S
            self._rates *= KEEP
            self._rates += self._step
            self._last[:] = self._values

    def _update_each(self, paused: Collection[str]) -> None:
        for name, part in self._parts.items():
            if name in paused:
                self._pauses[name] = self._pauses.get(name, 0) + 1
                continue
            elapsed = TICK_S * (1 + self._pauses.pop(name, 0))
            change = (self._values[part] - self._last[part]) / elapsed
            self._rates[part] = KEEP * self._rates[part] + (1.0 - KEEP) * change
            self._last[part] = self._values[part]
