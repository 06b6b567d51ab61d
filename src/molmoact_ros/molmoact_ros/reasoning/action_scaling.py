"""The scaling between recorded actions and -1..1 by the statistics of a data set.

Units are those of the recorded actions: metres, radians, gripper in the recording's convention.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from molmoact_ros.reasoning.gripper import DEFAULT_CONVENTION, gripper_to_training

Floats = NDArray[np.float64]
OPTIONAL = ("mean", "std", "min", "max")
NUMBERS = ("q01", "q99", *OPTIONAL)


@dataclass(frozen=True, eq=False)
class ActionStatistics:
    """Statistics of one data set, arrays [D].

    q01, q99: quantiles 0.01 and 0.99. mask: True where a dimension is scaled; the last is never.
    mean, std, min, max: for people, or None when the file has none. card: our own extra fields
    (gripper_raw, delta_frame, fps, ...). proprio: the same numbers of recorded robot states,
    arrays [S], None without any. Raises ValueError when arrays disagree or are not finite.
    """

    q01: Floats
    q99: Floats
    mask: NDArray[np.bool_]
    mean: Floats | None = None
    std: Floats | None = None
    min: Floats | None = None
    max: Floats | None = None
    num_transitions: int = 0
    num_trajectories: int = 0
    card: Mapping[str, Any] = field(default_factory=dict)
    proprio: Mapping[str, Floats] | None = None

    def __post_init__(self) -> None:
        for name in NUMBERS:
            values = getattr(self, name)
            if values is None:
                continue
            if values.shape != (self.dims,) or not np.isfinite(values).all():
                raise ValueError(
                    f"Action statistics: {name} must hold {self.dims} finite numbers, got"
                    f" {values.tolist()}; compute the statistics file again."
                )
        if self.mask.shape != (self.dims,) or (self.q99 < self.q01).any():
            raise ValueError(
                "Action statistics: q99 must not be below q01 and mask must be as long as q01"
                f" (q01 {self.q01.tolist()}, q99 {self.q99.tolist()}, mask {self.mask.tolist()});"
                " compute the statistics file again."
            )
        gripper_columns(self.card, self.dims)

    @property
    def dims(self) -> int:
        """Number of action dimensions D."""
        return int(self.q01.size)

    @property
    def scaled(self) -> NDArray[np.bool_]:
        """The mask as it is used: what the card names a gripper is never scaled, without such a
        card the last dimension, whatever the mask says.
        """
        used = self.mask.copy()
        used[gripper_columns(self.card, self.dims)] = False
        return used

    def unnormalise(self, values: ArrayLike) -> Floats:
        """Decoded values [..., D] in -1..1 to physical units; unscaled dimensions stay as they are.

        The quantiles are rounded to float32 first, as the released model does.
        """
        normal = self._checked(values, np.float64)
        low, high = self.q01.astype(np.float32), self.q99.astype(np.float32)
        return np.where(self.scaled, 0.5 * (normal + 1) * (high - low) + low, normal)

    def normalise(self, actions: ArrayLike, gripper_raw: str | None = None) -> NDArray[np.float32]:
        """Recorded actions [..., D] to training values in -1..1; unscaled dimensions are grippers.

        A dimension that never moved (q99 close to q01) becomes 0. ``gripper_raw``: convention of
        gripper.py; None takes the card's, else 0 open / 1 closed.
        """
        raw = self._checked(actions, np.float32)
        low, high = self.q01.astype(np.float32), self.q99.astype(np.float32)
        scaled = np.clip(2 * (raw - low) / (high - low + np.float32(1e-8)) - 1, -1, 1)
        moving = np.where(np.isclose(high, low), np.float32(0), scaled)
        convention = gripper_raw or str(self.card.get("gripper_raw", DEFAULT_CONVENTION))
        gripper = gripper_to_training(raw, convention)
        return np.where(self.scaled, moving, gripper).astype(np.float32)

    def _checked(self, values: ArrayLike, dtype: type) -> NDArray[Any]:
        array: NDArray[Any] = np.asarray(values, dtype=dtype)
        if array.ndim == 0 or array.shape[-1] != self.dims or not np.isfinite(array).all():
            raise ValueError(
                f"Actions of shape {array.shape} do not fit statistics of {self.dims} dimensions,"
                " or hold NaN or infinity; use the statistics of the same robot and drop bad rows."
            )
        return array


def gripper_columns(card: Mapping[str, Any], dims: int) -> list[int]:
    """Columns 0..dims-1 that ``gripper_dims`` of a card names; the last one where it says nothing.

    Negative numbers count from the end. Raises ValueError for a column that is not there, and for
    the card's default when it cannot be meant.
    """
    named = list(card.get("gripper_dims", (-1,)))
    if not all(-dims <= d < dims for d in named) or (named == [6] and dims != 7):
        seventh = f", to [{6 - dims}] where it is the seventh" if dims > 7 else ""
        raise ValueError(
            f"gripper_dims is {named} (the default is [6], for 7 dimensions), but actions have"
            f" {dims}; in the data card set it to [{dims - 1}] for a gripper that comes last, to"
            f" [] for none{seventh}."
        )
    return sorted({d % dims for d in named})
