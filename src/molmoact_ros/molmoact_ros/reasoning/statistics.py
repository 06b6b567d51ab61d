"""What a data set's actions look like, and the scaling between them and -1..1.

The file is JSON: key -> {"action": {q01, q99, mask, mean, std, min, max}, "proprio": ...,
"num_transitions", "num_trajectories"}, the format of OpenVLA and of MolmoAct's ``norm_stats``.
Units are those of the recorded actions: metres, radians, gripper in the recording's convention.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from molmoact_ros.reasoning.gripper import DEFAULT_CONVENTION, gripper_to_training

Floats = NDArray[np.float64]
_OPTIONAL = ("mean", "std", "min", "max")
_NUMBERS = ("q01", "q99", *_OPTIONAL)
CARD = "molmo_ros"
"""Of an entry: our own fields."""
DEFAULT = "default"
"""Of these: true where this key is taken when none is asked for."""


@dataclass(frozen=True, eq=False)
class ActionStatistics:
    """Statistics of one data set, arrays [D].

    q01, q99: quantiles 0.01 and 0.99. mask: True where a dimension is scaled; the last is never.
    mean, std, min, max: for people, or None when the file has none. card: our own extra fields
    (gripper_raw, delta_frame, fps, ...). Raises ValueError when arrays disagree or are not finite.
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

    def __post_init__(self) -> None:
        for name in _NUMBERS:
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

    @property
    def dims(self) -> int:
        """Number of action dimensions D."""
        return int(self.q01.size)

    @property
    def scaled(self) -> NDArray[np.bool_]:
        """The mask as it is used: the last dimension (gripper) is never scaled."""
        used = self.mask.copy()
        used[-1] = False
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


def compute_statistics(
    actions: ArrayLike, episodes: ArrayLike, card: Mapping[str, Any] | None = None
) -> ActionStatistics:
    """Statistics of recorded actions [T, D] of kept training ticks; ``episodes`` [T] names each.

    Everything is float32, the standard deviation that of the population, quantiles linear. Scaled
    are all dimensions but the card's ``gripper_dims`` (default: the last). Filter idle and failed
    ticks first, else the quantiles come out too narrow. Raises ValueError without usable rows.
    """
    rows, names = np.asarray(actions, dtype=np.float32), np.asarray(episodes)
    if rows.ndim != 2 or not rows.size or names.shape != rows.shape[:1]:
        raise ValueError(
            f"Statistics need actions [T, D] and one episode a row, got {rows.shape} and"
            f" {names.shape}; check that the data set has kept ticks."
        )
    if not np.isfinite(rows).all():
        raise ValueError("An action is NaN or infinite; drop the episode that holds it.")
    fields = dict(card or {})
    grippers = list(fields.get("gripper_dims", [-1]))
    dims = rows.shape[1]
    mask = np.array([d not in grippers and d - dims not in grippers for d in range(dims)])
    # float64 sums of float32 values, so that no numpy release shifts a quantile by one rounding.
    low, high = np.quantile(rows.astype(np.float64), (0.01, 0.99), axis=0).astype(np.float32)
    return ActionStatistics(
        q01=low.astype(np.float64),
        q99=high.astype(np.float64),
        mask=mask,
        mean=rows.mean(axis=0).astype(np.float64),
        std=rows.std(axis=0).astype(np.float64),
        min=rows.min(axis=0).astype(np.float64),
        max=rows.max(axis=0).astype(np.float64),
        num_transitions=int(rows.shape[0]),
        num_trajectories=int(np.unique(names).size),
        card=fields,
    )


def read_statistics(
    source: Path | str | Mapping[str, Any], key: str | None = None
) -> ActionStatistics:
    """The statistics under ``key``; None takes what ``statistics_key`` takes.

    ``source``: a statistics file, a model's config.json, or the dictionary of either. Raises
    ValueError when there are none, the key is missing or ambiguous, or numbers are missing.
    """
    table: Any = source
    if isinstance(source, (str, Path)):
        try:
            table = json.loads(Path(source).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ValueError(
                f"Cannot read action statistics from {source}: {error}. Give the path of a"
                " dataset_statistics.json or of a model's config.json."
            ) from error
    if isinstance(table, Mapping):
        table = table.get("norm_stats", table)
    if not isinstance(table, Mapping) or not table:
        raise ValueError(
            "There are no action statistics; give a dataset_statistics.json or a config.json with"
            " norm_stats."
        )
    key = statistics_key(table, key)
    return _from_entry(table[key], key)


def statistics_key(table: Mapping[str, Any], key: str | None = None) -> str:
    """``key``; without one the only key there is, or else the one that the table calls its own.

    A fine-tune keeps the keys of its base; ``molmo_ros.default`` is true in the entry that it was
    trained on. Raises ValueError when there is no such key or no choice.
    """
    available = ", ".join(sorted(map(str, table)))
    if key is None:
        own = [name for name, entry in table.items() if len(table) == 1 or _is_default(entry)]
        if len(own) != 1:
            raise ValueError(f"No statistics key was chosen; choose one of: {available}.")
        key = own[0]
    if key not in table:
        raise ValueError(f"There are no statistics under {key!r}; choose one of: {available}.")
    return key


def _is_default(entry: Any) -> bool:
    card = entry.get(CARD) if isinstance(entry, Mapping) else None
    return isinstance(card, Mapping) and card.get(DEFAULT) is True


def write_statistics(path: Path | str, table: Mapping[str, ActionStatistics]) -> None:
    """Write a statistics file; ``proprio`` is zeros because MolmoAct sees no robot state."""
    entries: dict[str, Any] = {}
    for key, statistics in table.items():
        action: dict[str, Any] = {"mask": statistics.mask.tolist()}
        for name in _NUMBERS:
            if getattr(statistics, name) is not None:
                action[name] = getattr(statistics, name).tolist()
        entries[key] = {
            "action": action,
            "proprio": {name: [0.0] * statistics.dims for name in _NUMBERS},
            "num_transitions": statistics.num_transitions,
            "num_trajectories": statistics.num_trajectories,
        }
        if statistics.card:
            entries[key][CARD] = dict(statistics.card)
    text = json.dumps(entries, indent=2, allow_nan=False)
    Path(path).write_text(text + "\n", encoding="utf-8")


def _from_entry(entry: Any, key: str) -> ActionStatistics:
    try:
        action = entry["action"]
        q01, mask = _vector(action["q01"]), action.get("mask")
        optional = {name: action.get(name) for name in _OPTIONAL}
        return ActionStatistics(
            q01=q01,
            q99=_vector(action["q99"]),
            mask=np.ones(q01.size, bool) if mask is None else np.array(mask, dtype=bool),
            num_transitions=int(entry.get("num_transitions", 0)),
            num_trajectories=int(entry.get("num_trajectories", 0)),
            card=dict(entry.get(CARD, {})),
            **{name: None if v is None else _vector(v) for name, v in optional.items()},
        )
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"The statistics under {key!r} are damaged ({error}); each needs an 'action' with q01"
            " and q99, one finite number a dimension. Compute or copy the file again."
        ) from error


def _vector(values: Any) -> Any:
    vector = np.array(values, dtype=np.float64)
    if vector.ndim != 1 or not vector.size:
        raise ValueError(f"expected a list of numbers, found {values!r}")
    return vector
