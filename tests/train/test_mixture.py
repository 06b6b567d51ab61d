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
from molmoact_ros.train.mixture import check_crop, check_mixture, check_weights
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


def rename(folder: Path, key: str) -> dict[str, object]:
    """The statistics under another key; the table as it was."""
    table: dict[str, object] = json.loads((folder / STATISTICS).read_text())
    (folder / STATISTICS).write_text(json.dumps({key: next(iter(table.values()))}))
    return table


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
    rename(two[1], "other_arm")
    check_mixture(two)


def test_depth_codes_of_two_books_are_refused_under_any_name(two: tuple[Path, Path]) -> None:
    change(two[0], "card.json", "depth_codebook", "1111")
    change(two[1], "card.json", "depth_codebook", "2222")
    change(two[1], "card.json", "name", "other_arm")
    rename(two[1], "other_arm")
    with pytest.raises(BadCard, match="of 1111 and .* of 2222"):
        check_mixture(two)
    change(two[1], "card.json", "depth_source", "none")
    check_mixture(two)


@pytest.mark.parametrize(("centre", "crop"), [(1.0, 0.9), (0.9, 1.0), (0.9, 0.5)])
def test_the_crop_is_the_cards_in_both_directions(
    two: tuple[Path, Path], centre: float, crop: float
) -> None:
    change(two[1], "card.json", "center_crop", centre)
    check_crop([two[1]], centre)
    with pytest.raises(BadRecipe, match=rf"at {centre:g} of .*crops to {crop:g};.*crop={centre:g}"):
        check_crop([two[1]], crop)


@pytest.mark.parametrize("weights", [[1.0], [1.0, 0.0], [1.0, float("nan")], [1.0, 1.0, 1.0]])
def test_weights_are_positive_one_for_each_set(weights: list[float]) -> None:
    with pytest.raises(BadRecipe, match="2 data sets"):
        check_weights([Path("a"), Path("b")], weights)


def test_the_command_trains_on_two_and_exports_both_statistics(tmp_path: Path) -> None:
    source = source_of(tmp_path, small_recipe())
    other = tmp_path / "other"
    shutil.copytree(tmp_path / "data", other)
    change(other, "card.json", "name", "other_arm")
    table = rename(other, "other_arm")
    command = ["train", "--data", str(tmp_path / "data"), str(other), "--weights", "0.5", "0.5"]
    command += [
        "--base",
        str(source.base),
        "--preset",
        "nano-cpu",
        "--device",
        "cpu",
        "--unchecked",
    ]
    for name in ("steps=2", "batch=2", "micro=1", "jitter=false", "look_every=0"):
        command += ["--set", name]
    command += ["--out", str(tmp_path / "run"), "--export", str(tmp_path / "made")]
    assert main(command) == 0
    stats = json.loads((tmp_path / "made/config.json").read_text())["norm_stats"]
    assert set(stats) == {"other_arm", *table}
