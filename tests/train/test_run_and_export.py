"""A whole run in one process: it learns, it stops in order, it exports something that drives."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from molmoact_ros.model.checkpoint import load_checkpoint
from molmoact_ros.model.config import read_json
from molmoact_ros.reasoning.statistics import read_statistics
from molmoact_ros.train.checkpoints import newest
from molmoact_ros.train.export import export_run, self_test
from molmoact_ros.train.loop import Trainer
from molmoact_ros.train.processes import World
from molmoact_ros.train.recipe import BadRecipe

sys.path.insert(0, str(Path(__file__).parent))
from train_helpers import small_recipe, source_of

ALONE = World(0, 1, torch.device("cpu"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("run")
    source_of(made, small_recipe())
    return made


class Interrupt:
    """Sends the signal of a scheduler after a number of steps."""

    def __init__(self, at: int) -> None:
        self._at = at

    def step(self, step: int, _values: Mapping[str, float]) -> bool:
        if step == self._at:
            os.kill(os.getpid(), signal.SIGTERM)
        return True


def test_the_loss_falls_and_a_look_reports_physical_units(folder: Path, tmp_path: Path) -> None:
    recipe = small_recipe(
        steps=12, look_every=12, look_samples=2, look_decoded=1, lr_llm=1e-2, bin_sigma=1.0
    )
    outcome = Trainer(source_of(folder, recipe), tmp_path, ALONE).run()
    assert outcome.finished
    assert outcome.losses[-1] < outcome.losses[0] - 0.5
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    look = next(line for line in lines if line["kind"] == "look")
    assert {"loss_depth", "loss_trace", "loss_action", "refused"} <= set(look)
    assert list((tmp_path / "tensorboard").iterdir())


@pytest.mark.parametrize("muon", [0.0, 2.0])
def test_sigterm_saves_and_the_same_command_continues(
    folder: Path, tmp_path: Path, muon: float
) -> None:
    recipe = small_recipe(steps=4, muon=muon)
    whole = Trainer(source_of(folder, recipe), tmp_path / "whole", ALONE).run()
    out = tmp_path / "parts"
    first = Trainer(source_of(folder, recipe), out, ALONE, Interrupt(2)).run()
    assert not first.finished and first.steps == 2
    rest = Trainer(source_of(folder, recipe), out, ALONE).run()
    assert rest.finished
    assert [*first.losses, *rest.losses] == pytest.approx(whole.losses, abs=1e-6)


def test_a_checkpoint_that_was_not_finished_is_ignored(tmp_path: Path) -> None:
    """kill -9 while saving must not lose the run."""
    for step, complete in ((1, True), (2, False)):
        (tmp_path / f"step-{step:08d}").mkdir()
        if complete:
            (tmp_path / f"step-{step:08d}" / "state.json").write_text("{}")
    found = newest(tmp_path)
    assert found is not None and found.name == "step-00000001"


def test_another_batch_is_refused_on_resume(folder: Path, tmp_path: Path) -> None:
    Trainer(source_of(folder, small_recipe(steps=1)), tmp_path, ALONE).run()
    with pytest.raises(BadRecipe, match="batches of 4"):
        Trainer(source_of(folder, small_recipe(batch=8)), tmp_path, ALONE)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_an_export_is_a_checkpoint_with_statistics_card_and_self_test(
    folder: Path, tmp_path: Path, method: str
) -> None:
    recipe = small_recipe(steps=1, method=method, rank=4, alpha=2)
    source, run, out = source_of(folder, recipe), tmp_path / "run", tmp_path / "out"
    outcome = Trainer(source, run, ALONE).run()
    (run / "recipe.json").write_text(recipe.to_json())
    test = export_run(run, source.base, source.folders, out, outcome.checkpoint, recipe)
    assert test.passed and test.worst == 0 and test.answers > 5
    loaded = load_checkpoint(out)
    assert read_statistics({"norm_stats": loaded.config.norm_stats}).dims == 7
    assert "Self-test" in (out / "README.md").read_text()
    stored = load_checkpoint(out, dtype=None)
    assert {p.dtype for p in stored.model.parameters()} == {torch.bfloat16}
    assert (out / "adapter" / "adapter_model.safetensors").is_file() == (method == "lora")


def test_a_part_with_rate_zero_stays_as_it_was_and_is_exported(
    folder: Path, tmp_path: Path
) -> None:
    """A run's checkpoints leave frozen parts out; the exported network must have them."""
    recipe = small_recipe(steps=1, lr_vit=0.0)
    source, run, out = source_of(folder, recipe), tmp_path / "run", tmp_path / "out"
    outcome = Trainer(source, run, ALONE).run()
    (run / "recipe.json").write_text(recipe.to_json())
    export_run(run, source.base, source.folders, out, outcome.checkpoint, recipe)
    before, after = (load_checkpoint(f).model.state_dict() for f in (source.base, out))
    same = {name: torch.equal(before[name].bfloat16().float(), after[name]) for name in before}
    assert all(equal for name, equal in same.items() if "image_vit" in name)
    assert not all(equal for name, equal in same.items() if "blocks" in name)


def test_the_self_test_notices_statistics_of_another_data_set(folder: Path, tmp_path: Path) -> None:
    source = source_of(folder, small_recipe(steps=1))
    outcome = Trainer(source, tmp_path / "run", ALONE).run()
    (tmp_path / "run/recipe.json").write_text(source.recipe.to_json())
    out = tmp_path / "out"
    export_run(
        tmp_path / "run", source.base, source.folders, out, outcome.checkpoint, source.recipe
    )
    config = read_json(out / "config.json")
    config["norm_stats"]["test_arm"]["action"]["mask"][5] = False
    (out / "config.json").write_text(json.dumps(config))
    assert not self_test(out, source.folders[0]).passed
