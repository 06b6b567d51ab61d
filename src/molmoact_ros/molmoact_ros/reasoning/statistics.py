"""What a data set's actions look like, in a file.

The file is JSON: key -> {"action": {q01, q99, mask, mean, std, min, max}, "proprio": ...,
"num_transitions", "num_trajectories"}, the format of OpenVLA and of MolmoAct's ``norm_stats``.
Units are those of the recorded actions: metres, radians, gripper in the recording's convention.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from molmoact_ros.reasoning.action_scaling import (
    NUMBERS,
    OPTIONAL,
    ActionStatistics,
    Floats,
    gripper_columns,
)

__all__ = [
    "NUMBERS", "ActionStatistics", "compute_statistics", "read_statistics", "write_statistics",
]  # fmt: skip

CARD = "molmo_ros"
"""Of an entry: our own fields."""
DEFAULT = "default"
"""Of these: true where this key is taken when none is asked for."""


def compute_statistics(
    actions: ArrayLike,
    episodes: ArrayLike,
    card: Mapping[str, Any] | None = None,
    states: Sequence[ArrayLike] = (),
) -> ActionStatistics:
    """Statistics of recorded actions [T, D] of kept training ticks; ``episodes`` [T] names each.

    Everything is float32, the standard deviation that of the population, quantiles linear. Scaled
    are all dimensions but the card's ``gripper_dims`` (default: the last). Filter idle and failed
    ticks first, else the quantiles come out too narrow. states: robot states [T, S] of episodes
    in any number, S = 0 without. Raises ValueError without usable rows.
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
    dims = rows.shape[1]
    mask = np.ones(dims, dtype=bool)
    mask[gripper_columns(fields, dims)] = False
    return ActionStatistics(
        **_described(rows),
        mask=mask,
        num_transitions=int(rows.shape[0]),
        num_trajectories=int(np.unique(names).size),
        card=fields,
        proprio=_of_states(states),
    )


def _of_states(states: Sequence[ArrayLike]) -> dict[str, Floats] | None:
    tables = [np.asarray(table, dtype=np.float32) for table in states]
    told = [table[np.isfinite(table).all(axis=1)] for table in tables if table.size]
    widths = sorted({table.shape[1] for table in told})
    if len(widths) > 1:
        raise ValueError(
            f"Robot states of {widths} numbers in one data set; keep robots in sets of their own."
        )
    return _described(np.concatenate(told)) if told else None


def _described(rows: NDArray[np.float32]) -> dict[str, Floats]:
    # float64 sums of float32 values, so that no numpy release shifts a quantile by one rounding.
    low, high = np.quantile(rows.astype(np.float64), (0.01, 0.99), axis=0).astype(np.float32)
    found = {
        "q01": low,
        "q99": high,
        "mean": rows.mean(axis=0),
        "std": rows.std(axis=0),
        "min": rows.min(axis=0),
        "max": rows.max(axis=0),
    }
    return {name: values.astype(np.float64) for name, values in found.items()}


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
    """Write a statistics file; ``proprio`` is zeros [D] where no robot state was recorded."""
    entries: dict[str, Any] = {}
    for key, statistics in table.items():
        action: dict[str, Any] = {"mask": statistics.mask.tolist()}
        for name in NUMBERS:
            if getattr(statistics, name) is not None:
                action[name] = getattr(statistics, name).tolist()
        entries[key] = {
            "action": action,
            "proprio": {
                name: (statistics.proprio or {}).get(name, np.zeros(statistics.dims)).tolist()
                for name in NUMBERS
            },
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
        optional = {name: action.get(name) for name in OPTIONAL}
        return ActionStatistics(
            q01=q01,
            q99=_vector(action["q99"]),
            mask=np.ones(q01.size, bool) if mask is None else np.array(mask, dtype=bool),
            num_transitions=int(entry.get("num_transitions", 0)),
            num_trajectories=int(entry.get("num_trajectories", 0)),
            card=dict(entry.get(CARD, {})),
            proprio=_proprio(entry.get("proprio")),
            **{name: None if v is None else _vector(v) for name, v in optional.items()},
        )
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"The statistics under {key!r} are damaged ({error}); each needs an 'action' with q01"
            " and q99, one finite number a dimension. Compute or copy the file again."
        ) from error


def _proprio(found: Any) -> dict[str, Floats] | None:
    """Released files hold zeros, or nothing."""
    if not isinstance(found, Mapping) or not all(found.get(name) for name in NUMBERS):
        return None
    vectors = {name: _vector(found[name]) for name in NUMBERS}
    return vectors if any(vector.any() for vector in vectors.values()) else None


def _vector(values: Any) -> Any:
    vector = np.array(values, dtype=np.float64)
    if vector.ndim != 1 or not vector.size:
        raise ValueError(f"expected a list of numbers, found {values!r}")
    return vector
