"""A run that is killed or told to end goes on as if nothing had happened, sample for sample."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from molmoact_ros.cli import main
from molmoact_ros.train.stream import Visits

sys.path.insert(0, str(Path(__file__).parent))
import command_process
from train_helpers import small_recipe, source_of

SCRIPT = Path(__file__).parent / "command_process.py"
STEPS, BATCH = 16, 4


def command(folder: Path, out: Path) -> list[str]:
    fields = {
        "steps": STEPS, "batch": BATCH, "micro": 1, "log_every": 1, "save_every": 3, "keep": 100,
        "look_every": 0, "warm_up": 5, "bin_sigma": 0.0, "lr_llm": 0.003, "precision": "float32",
    }  # fmt: skip
    words = ["train", "--data", str(folder / "data"), "--base", str(folder / "base")]
    words += ["--out", str(out), "--preset", "nano-cpu", "--device", "cpu", "--unchecked"]
    return [*words, *(w for name, value in fields.items() for w in ("--set", f"{name}={value}"))]


def started(folder: Path, out: Path) -> subprocess.Popen[bytes]:
    """The command in two processes under torchrun."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    environment = {**os.environ, "SEEN": str(out / "seen"), "SLOWLY": "0.05"}
    with (out.parent / "log.txt").open("ab") as log:
        return subprocess.Popen(
            [*launcher, "--nproc-per-node=2", str(SCRIPT), *command(folder, out)],
            env={**environment, "OMP_NUM_THREADS": "1"}, stdout=log, stderr=log,
        )  # fmt: skip


def here(folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command in this process, to its end."""
    monkeypatch.setenv("SEEN", str(out / "seen"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(Visits, "__getitem__", command_process.told)
    assert main(command(folder, out)) == 0


def losses(out: Path) -> dict[int, float]:
    """Step to loss; a step that was done again counts as it went the last time."""
    path = out / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.is_file() else []
    found = (json.loads(line) for line in lines if line.endswith("}"))
    return {line["step"]: line["loss"] for line in found}


def samples(out: Path) -> dict[int, set[str]]:
    """Position to what was read there."""
    read: dict[int, set[str]] = {}
    for path in (out / "seen").glob("*.txt"):
        for line in path.read_text().splitlines():
            position, what = line.split(" ", 1)
            read.setdefault(int(position), set()).add(what)
    return read


def until(what: Callable[[], bool], run: subprocess.Popen[bytes], out: Path) -> None:
    for _ in range(1200):
        if what():
            return
        assert run.poll() is None, (out.parent / "log.txt").read_text()[-3000:]
        time.sleep(0.02)
    raise AssertionError("it did not come to that")


def kill_all(run: subprocess.Popen[bytes]) -> None:
    """kill -9 of torchrun and of what it started: nobody can say good-bye."""
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    for pid in (run.pid, *map(int, children)):
        os.kill(pid, signal.SIGKILL)
    run.wait()


def states(out: Path) -> list[int]:
    return sorted(int(path.parent.name[5:]) for path in out.glob("step-*/state.json"))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_killed_and_terminated_runs_go_on_with_the_same_samples_and_losses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes are killed behind a checkpoint, two others go on and get the SIGTERM of a
    scheduler through torchrun, one ends it; another run was never disturbed.
    """
    source_of(tmp_path, small_recipe())
    whole, out = tmp_path / "whole", tmp_path / "broken"
    here(tmp_path, whole, monkeypatch)

    run = started(tmp_path, out)
    until(lambda: bool(states(out)) and max(losses(out), default=0) > states(out)[-1], run, out)
    kill_all(run)
    saved, done = states(out)[-1], max(losses(out))
    assert saved < done < STEPS, "steps behind the checkpoint are lost"

    before = set((out / "seen").iterdir())
    run = started(tmp_path, out)
    until(lambda: max(losses(out)) > done, run, out)
    run.send_signal(signal.SIGTERM)
    run.wait(60)
    stopped = max(losses(out))
    assert stopped < STEPS and states(out)[-1] == stopped, "saved after the step that was going on"
    new = set((out / "seen").iterdir()) - before
    assert min(int(path.read_text().split()[0]) for path in new) == saved * BATCH

    here(tmp_path, out, monkeypatch)
    assert samples(out) == samples(whole) and len(samples(whole)) == STEPS * BATCH
    assert all(len(what) == 1 for what in samples(out).values()), "one sample at one position"
    truth = losses(whole)
    assert losses(out) == {step: pytest.approx(loss, abs=1e-5) for step, loss in truth.items()}
    assert truth[STEPS] < truth[1]
