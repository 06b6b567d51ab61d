"""How a run goes: one JSON line a report, TensorBoard curves, and one line for a person."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

METRICS = "metrics.jsonl"


class Tracker:
    """Only the first process has a real one; ``on`` False writes nothing."""

    def __init__(self, folder: Path, steps: int, first_step: int, on: bool = True) -> None:
        self._on, self._steps, self._first = on, steps, first_step
        self._started = time.monotonic()
        self._curves: SummaryWriter | None = None
        if on:
            folder.mkdir(parents=True, exist_ok=True)
            self._curves = SummaryWriter(str(folder / "tensorboard"))
            self._file = (folder / METRICS).open("a", encoding="utf-8")

    def report(self, step: int, values: Mapping[str, float], kind: str = "train") -> None:
        """``values`` after ``step`` steps. kind: train or look (held-out)."""
        if not self._on or self._curves is None:
            return
        rounded = {name: round(float(value), 6) for name, value in values.items()}
        line = {"kind": kind, "step": step, "time": round(time.time(), 1), **rounded}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        for name, value in rounded.items():
            self._curves.add_scalar(f"{kind}/{name}", value, step)
        done = max(step - self._first, 1)
        left = (time.monotonic() - self._started) / done * (self._steps - step)
        told = " ".join(f"{name} {value:.4g}" for name, value in rounded.items())
        sys.stderr.write(f"step {step}/{self._steps}, {_words(left)} left, {kind}: {told}\n")
        sys.stderr.flush()

    def close(self) -> None:
        if self._curves is not None:
            self._curves.close()
            self._file.close()


def _words(seconds: float) -> str:
    hours, rest = divmod(int(max(seconds, 0)), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"
