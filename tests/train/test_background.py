"""A node watches training through files and signals: no report lost, no half line believed."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest

from molmoact_ros.train.background import BackgroundTraining, Ended, Wanted
from molmoact_ros.train.recipe import BadRecipe

WRITES = """
import json, pathlib, signal, sys, time
out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
out.mkdir(parents=True, exist_ok=True)
with (out / "metrics.jsonl").open("a") as f:
    f.write(json.dumps({"kind": "train", "step": 10, "time": 1.0, "loss": 2.5, "samples_s": 4.0}))
    f.write("\\n" + json.dumps({"kind": "look", "step": 10, "first_mm": 3.0}) + "\\n")
    f.write('{"kind": "train", "st')
print("said something", file=sys.stderr)
"""
WAITS = """
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("ready", file=sys.stderr, flush=True)
time.sleep(60)
"""


def wanted(tmp_path: Path, **more: object) -> Wanted:
    fields = ("steps=100", "batch=8", "micro=8")
    return Wanted(str(tmp_path), str(tmp_path / "run"), size="micro", preset="micro-cpu",
                  **{"fields": fields, **more})  # type: ignore[arg-type]  # fmt: skip


def ended(run: BackgroundTraining) -> Ended:
    for _ in range(600):
        if (found := run.ended()) is not None:
            return found
        time.sleep(0.05)
    raise AssertionError("the process did not end")


def test_reports_become_progress_and_half_lines_wait(tmp_path: Path) -> None:
    run = BackgroundTraining(wanted(tmp_path), (sys.executable, "-c", WRITES))
    result = ended(run)
    assert result == Ended(True, False, f"trained 10 steps in {tmp_path / 'run'}", 10)
    seen = run.progress
    assert (seen.step, seen.steps, seen.loss) == (10, 100, 2.5)
    assert seen.left == pytest.approx(90 * 8 / 4.0)
    assert seen.values["look_first_mm"] == 3.0
    with (tmp_path / "run" / "metrics.jsonl").open("a") as lines:
        lines.write('ep": 11, "loss": 2.0}\n')
    assert run.poll() and run.progress.step == 11
    assert run.progress.values["look_first_mm"] == 3.0, "a look stays until the next one"
    run.close()


def test_a_resumed_run_does_not_report_what_it_did_before(tmp_path: Path) -> None:
    old = tmp_path / "run" / "metrics.jsonl"
    old.parent.mkdir()
    old.write_text(json.dumps({"kind": "train", "step": 50, "loss": 9.0}) + "\n")
    run = BackgroundTraining(wanted(tmp_path), (sys.executable, "-c", "pass"))
    assert not run.poll()
    assert ended(run).step == 0
    run.close()


def test_cancel_is_an_order_to_save_not_a_failure(tmp_path: Path) -> None:
    run = BackgroundTraining(wanted(tmp_path), (sys.executable, "-c", WRITES + WAITS))
    for _ in range(600):
        if "ready" in run._last_words():
            break
        time.sleep(0.05)
    assert run.ended() is None
    run.cancel()
    result = ended(run)
    assert result.canceled and not result.finished
    assert "continues at step 10" in result.message
    run.close()


def test_a_refusal_reaches_the_person_in_its_own_words(tmp_path: Path) -> None:
    script = "import sys; sys.exit('molmoact train: no such data; label it first')"
    run = BackgroundTraining(wanted(tmp_path), (sys.executable, "-c", script))
    result = ended(run)
    assert not result.finished and "label it first" in result.message
    run.close()


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        ({"base": "x"}, "either base"),
        ({"size": "huge"}, "micro"),
        ({"preset": "best"}, "post-train"),
        ({"fields": ("steps",)}, "FIELD=VALUE"),
        ({"fields": ("stepps=1",)}, "known:"),
        ({"data": ""}, "folders"),
    ],
)
def test_a_wrong_goal_is_refused_before_a_process_starts(
    tmp_path: Path, change: dict[str, object], remedy: str
) -> None:
    good: dict[str, object] = {"data": str(tmp_path), "out": "run", "size": "micro"}
    with pytest.raises(BadRecipe, match=remedy):
        Wanted(**{**good, **change})  # type: ignore[arg-type]


def test_arguments_are_those_of_the_command(tmp_path: Path) -> None:
    goal = wanted(tmp_path, export_to="ck")
    assert goal.arguments[-2:] == ["--export", "ck"]
    assert goal.arguments.count("--set") == 3
    assert goal.steps == 100
