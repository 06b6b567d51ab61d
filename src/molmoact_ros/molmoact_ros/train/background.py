"""Training beside something else: ``molmoact train`` in a process of its own, watched from here.

A robot's node must go on answering while gradients are computed, and a crash of one must not be
the crash of the other. Progress comes from the run's own metrics file, a stop is the signal that
a cluster's scheduler sends: the process saves and ends.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from molmoact_ros.train.recipe import PRESETS, BadRecipe, changed, overrides
from molmoact_ros.train.sizes import SIZES
from molmoact_ros.train.tracker import METRICS

STOP_WAIT_S = 120.0
"""Saving a network of seven billion numbers takes a minute."""
_COMMAND = (sys.executable, "-m", "molmoact_ros.cli", "train")
_LAST_WORDS = 400


@dataclass(frozen=True)
class Wanted:
    """What to train.

    data: one folder, or several as in a search path ("A:B"). Empty base: a new network of
    ``size``. fields: "steps=500" and so on.
    Raises BadRecipe for what ``molmoact train`` would refuse before it opens any file.
    """

    data: str
    out: str
    base: str = ""
    size: str = ""
    preset: str = "post-train"
    fields: tuple[str, ...] = ()
    export_to: str = ""

    def __post_init__(self) -> None:
        if not self.folders or not self.out:
            raise BadRecipe("data and out must name folders: labelled data, and where the run goes")
        if bool(self.base) == bool(self.size):
            raise BadRecipe("give either base (a checkpoint) or size (a new small network)")
        if self.size and self.size not in SIZES:
            raise BadRecipe(f"unknown size {self.size!r}; use one of {', '.join(SIZES)}")
        if self.preset not in PRESETS:
            raise BadRecipe(f"unknown preset {self.preset!r}; use one of {', '.join(PRESETS)}")
        changed(PRESETS[self.preset], self._overrides)

    @property
    def folders(self) -> list[str]:
        """The data sets."""
        return [folder for folder in self.data.split(os.pathsep) if folder]

    @property
    def _overrides(self) -> dict[str, str]:
        return overrides(self.fields)

    @property
    def steps(self) -> int:
        """Of the whole run."""
        return changed(PRESETS[self.preset], self._overrides).steps

    @property
    def arguments(self) -> list[str]:
        """For ``molmoact train``."""
        start = ["--base", self.base] if self.base else ["--size", self.size]
        overrides = [word for text in self.fields for word in ("--set", text)]
        end = ["--export", self.export_to] if self.export_to else []
        return [
            "--data", *self.folders, "--out", self.out, "--preset", self.preset,
            *start, *overrides, *end,
        ]  # fmt: skip


@dataclass(frozen=True)
class Progress:
    """Of the last report. left: seconds, as far as the speed is known. values: by name, those of
    held-out looks begin with ``look_``.
    """

    step: int
    steps: int
    left: float = 0.0
    loss: float = float("nan")
    values: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Ended:
    """How it ended. message: for a person."""

    finished: bool
    canceled: bool
    message: str
    step: int


class BackgroundTraining:
    """One training process. Call ``poll`` now and then; ``ended`` says when it is over."""

    def __init__(self, wanted: Wanted, command: Sequence[str] = _COMMAND) -> None:
        self.wanted, self._canceled = wanted, False
        self.progress = Progress(0, wanted.steps)
        self._file = Path(wanted.out) / METRICS
        # A resumed run goes on in the same file: what stands there already is old news.
        self._read = self._file.stat().st_size if self._file.is_file() else 0
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  lives as long as the process
        self._process = subprocess.Popen(
            [*command, *wanted.arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._said,
            start_new_session=True,
        )

    def poll(self) -> bool:
        """Read what is new; whether there was anything."""
        if not self._file.is_file():
            return False
        with self._file.open("rb") as lines:
            lines.seek(self._read)
            new = lines.read()
        # A line that is being written is read the next time.
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            self._take(json.loads(line))
        return bool(whole)

    def cancel(self) -> None:
        """Save and end; returns at once."""
        self._canceled = True
        if self._process.poll() is None:
            self._process.terminate()

    def ended(self) -> Ended | None:
        """None while it runs."""
        status = self._process.poll()
        if status is None:
            return None
        self.poll()
        step = self.progress.step
        if status == 0 and not self._canceled:
            end = f"; {self.wanted.export_to} drives" if self.wanted.export_to else ""
            return Ended(True, False, f"trained {step} steps in {self.wanted.out}{end}", step)
        if status == 0:
            return Ended(False, True, f"saved; the same goal continues at step {step}", step)
        said = self._last_words() or f"the training process ended with status {status}"
        return Ended(False, self._canceled, said, step)

    def close(self) -> None:
        """Save, end and wait for it."""
        self.cancel()
        try:
            self._process.wait(STOP_WAIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._said.close()

    def _take(self, line: dict[str, float | str]) -> None:
        numbers = {k: float(v) for k, v in line.items() if isinstance(v, (int, float))}
        step = int(numbers.pop("step", 0))
        numbers.pop("time", None)
        if line.get("kind") != "train":
            held_out = {f"look_{name}": value for name, value in numbers.items()}
            values = {**self.progress.values, **held_out}
            self.progress = Progress(
                step, self.progress.steps, self.progress.left, self.progress.loss, values
            )
            return
        steps, speed = self.progress.steps, numbers.get("samples_s", 0.0)
        batch = changed(PRESETS[self.wanted.preset], self.wanted._overrides).batch
        left = (steps - step) * batch / speed if speed > 0.0 else 0.0
        looks = {k: v for k, v in self.progress.values.items() if k.startswith("look_")}
        self.progress = Progress(
            step, steps, left, numbers.pop("loss", float("nan")), {**numbers, **looks}
        )

    def _last_words(self) -> str:
        self._said.seek(0)
        lines = self._said.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1][:_LAST_WORDS] if lines else ""
