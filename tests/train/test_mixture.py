"""Data sets that are trained on together must mean the same motion by the same symbol."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from molmoact_ros.cli import main
from molmoact_ros.data.card import BadCard
from molmoact_ros.data.dataset import STATISTICS
from molmoact_ros.train.mixture import check_mixture, check_weights
from molmoact_ros.train.recipe import BadRecipe

sys.path.insert(0, str(Path(__file__).parent))
from train_helpers import make_data, small_recipe, source_of


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    first, second = tmp_path / "a", tmp_path / "b"
    make_data(first, 1, 14)
    shutil.copytree(first, second)
    return first, second


def change(folder: Path, name: str, field: str, value: object) -> None:
    values = json.loads((folder / name).read_text())
    (values if field in values else next(iter(values.values()))["action"])[field] = value
    (folder / name).write_text(json.dumps(values))


def test_equal_cards_and_bins_go_together(two: tuple[Path, Path]) -> None:
    check_mixture(two)
    check_weights(two, [0.9, 0.1])


def test_other_bins_under_one_name_are_refused(two: tuple[Path, Path]) -> None:
    change(two[1], STATISTICS, "q99", [0.5] * 7)
    with pytest.raises(BadCard, match=r"action bins differ.*--statistics"):
        check_mixture(two)


def test_another_gripper_rule_under_one_name_is_refused(two: tuple[Path, Path]) -> None:
    change(two[1], "card.json", "fps", 10.0)
    with pytest.raises(BadCard, match="fps is 10.0"):
        check_mixture(two)


def test_another_robot_has_a_name_and_bins_of_its_own(two: tuple[Path, Path]) -> None:
    change(two[1], STATISTICS, "q99", [0.5] * 7)
    change(two[1], "card.json", "name", "other_arm")
    check_mixture(two)


@pytest.mark.parametrize("weights", [[1.0], [1.0, 0.0], [1.0, float("nan")], [1.0, 1.0, 1.0]])
def test_weights_are_positive_one_for_each_set(weights: list[float]) -> None:
    with pytest.raises(BadRecipe, match="2 data sets"):
        check_weights([Path("a"), Path("b")], weights)


def test_the_command_trains_on_two_and_exports_both_statistics(tmp_path: Path) -> None:
    source = source_of(tmp_path, small_recipe())
    other = tmp_path / "other"
    shutil.copytree(tmp_path / "data", other)
    change(other, "card.json", "name", "other_arm")
    table = json.loads((other / STATISTICS).read_text())
    (other / STATISTICS).write_text(json.dumps({"other_arm": next(iter(table.values()))}))
    command = ["train", "--data", str(tmp_path / "data"), str(other), "--weights", "0.5", "0.5"]
    command += ["--base", str(source.base), "--preset", "nano-cpu", "--device", "cpu"]
    for name in ("steps=2", "batch=2", "micro=1", "jitter=false", "look_every=0"):
        command += ["--set", name]
    command += ["--out", str(tmp_path / "run"), "--export", str(tmp_path / "made")]
    assert main(command) == 0
    stats = json.loads((tmp_path / "made/config.json").read_text())["norm_stats"]
    assert set(stats) == {"other_arm", *table}
