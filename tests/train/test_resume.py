"""A run continues only on what it was trained on."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from molmoact_ros.data.dataset import STATISTICS
from molmoact_ros.train.checkpoints import newest
from molmoact_ros.train.loop import Trainer
from molmoact_ros.train.processes import World
from molmoact_ros.train.recipe import BadRecipe
from molmoact_ros.train.stream import Source

sys.path.insert(0, str(Path(__file__).parent))
from train_helpers import make_data, small_recipe, source_of

ALONE = World(0, 1, torch.device("cpu"))
RECIPE = small_recipe(steps=1)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """A run that did its only step; beside it other data."""
    folder = tmp_path_factory.mktemp("resume")
    source = source_of(folder, RECIPE)
    Trainer(source, folder / "run", ALONE).run()
    make_data(folder / "grown", 4, 14)
    shutil.copytree(folder / "data", folder / "shifted")
    table = json.loads((folder / "shifted" / STATISTICS).read_text())
    next(iter(table.values()))["action"]["q99"][0] += 0.1
    (folder / "shifted" / STATISTICS).write_text(json.dumps(table))
    shutil.copytree(folder / "data", folder / "moved")
    return source


def resumed(source: Source) -> Trainer:
    return Trainer(source, source.base.parent / "run", ALONE)


def on(run: Source, *names: str) -> Source:
    return replace(run, folders=tuple(run.base.parent / name for name in names))


def test_the_same_data_continue_from_any_folder(run: Source) -> None:
    assert resumed(run).first_step == resumed(on(run, "moved")).first_step == 1


def test_other_data_are_refused_with_what_changed(run: Source) -> None:
    with pytest.raises(BadRecipe, match=r"grown: its episodes changed \(3 were known, 4 now\)"):
        resumed(on(run, "grown"))
    with pytest.raises(BadRecipe, match="shifted: its statistics changed"):
        resumed(on(run, "shifted"))
    with pytest.raises(BadRecipe, match="there were 1 data sets, now 2"):
        resumed(on(run, "data", "moved"))


def test_another_seed_or_other_shares_are_refused(run: Source) -> None:
    with pytest.raises(BadRecipe, match="data_seed was 50189, is 7"):
        resumed(replace(run, recipe=replace(RECIPE, data_seed=7)))
    with pytest.raises(BadRecipe, match=r"weights was None, is \[1.0\]"):
        resumed(replace(run, weights=(1.0,)))


def test_a_run_of_an_older_version_continues(run: Source, tmp_path: Path) -> None:
    """It did not write down what it was trained on."""
    shutil.copytree(run.base.parent / "run", tmp_path / "run")
    found = newest(tmp_path / "run")
    assert found is not None
    state = json.loads((found / "state.json").read_text())
    del state["data"]
    (found / "state.json").write_text(json.dumps(state))
    assert Trainer(on(run, "shifted"), tmp_path / "run", ALONE).first_step == 1
