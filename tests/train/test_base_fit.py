"""Data are compared with the checkpoint they are to train, before they can spoil it."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from molmoact_ros.data.card import BadCard, load_card
from molmoact_ros.data.dataset import STATISTICS
from molmoact_ros.data.depth_labels import DepthLabeller
from molmoact_ros.model.checkpoint import write_card
from molmoact_ros.train.base_fit import check_base

sys.path.insert(0, str(Path(__file__).parent))
from train_helpers import small_recipe, source_of

RECIPE = small_recipe()


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A checkpoint that was trained on the very data."""
    made = source_of(tmp_path, RECIPE, 1).base
    write_card(made, "# tiny", "trained on something")
    book = DepthLabeller().codebook
    replace(load_card(tmp_path / "data"), depth_codebook=book).save(tmp_path / "data")
    entry(made)["molmo_ros"]["depth_codebook"] = book
    return made


def entry(base: Path, **change: Any) -> dict[str, Any]:
    """The only statistics of a checkpoint, with fields of its card changed."""
    config = json.loads((base / "config.json").read_text())
    found = next(iter(config["norm_stats"].values()))
    found["molmo_ros"] |= change
    (base / "config.json").write_text(json.dumps(config))
    return found  # type: ignore[no-any-return]


def without_card(base: Path) -> None:
    """As released weights are."""
    config = json.loads((base / "config.json").read_text())
    for found in config["norm_stats"].values():
        del found["molmo_ros"]
    (base / "config.json").write_text(json.dumps(config))


def shifted(data: Path, key: str = "") -> None:
    table = json.loads((data / STATISTICS).read_text())
    ((old, found),) = table.items()
    found["action"]["q99"] = [value + 0.5 for value in found["action"]["q99"]]
    (data / STATISTICS).write_text(json.dumps({key or old: found}))


def test_what_it_was_trained_on_fits(base: Path, tmp_path: Path) -> None:
    check_base(base, [tmp_path / "data"], RECIPE)


def test_other_bins_under_its_key_are_refused_unless_meant(base: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shifted(data)
    with pytest.raises(BadCard, match=r"bins differ.*--statistics .*config.json.*--new-stat"):
        check_base(base, [data], RECIPE)
    check_base(base, [data], RECIPE, new_statistics=True)


def test_another_card_under_its_key_is_refused(base: Path, tmp_path: Path) -> None:
    entry(base, fps=5.0)
    with pytest.raises(BadCard, match="fps is 15.0 but the training data had 5.0"):
        check_base(base, [tmp_path / "data"], RECIPE)


def test_a_new_key_is_another_robot(base: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shifted(data, "mine")
    replace(load_card(data), name="mine", fps=10.0).save(data)
    check_base(base, [data], RECIPE)


def test_released_weights_do_not_write_the_codes_of_this_package(
    base: Path, tmp_path: Path
) -> None:
    without_card(base)
    data = [tmp_path / "data"]
    with pytest.raises(BadCard, match=r"--depth-weights vae-final.pt"):
        check_base(base, data, RECIPE)
    check_base(base, data, RECIPE, new_codes=True)
    check_base(base, data, small_recipe(reason=0.0, steer=1.0))
    replace(load_card(data[0]), depth_codebook="0123456789abcdef").save(data[0])
    check_base(base, data, RECIPE)


def test_codes_of_another_book_are_refused_under_any_key(base: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    entry(base, depth_codebook="0123456789abcdef")
    with pytest.raises(BadCard, match="writes those of 0123456789abcdef"):
        check_base(base, [data], RECIPE)
    shifted(data, "mine")
    replace(load_card(data), name="mine").save(data)
    with pytest.raises(BadCard, match="code book"):
        check_base(base, [data], RECIPE)


def test_random_weights_know_nothing_that_could_differ(base: Path, tmp_path: Path) -> None:
    entry(base, depth_codebook="0123456789abcdef", fps=5.0)
    write_card(base, "# tiny", "RANDOM (seed 0), never trained")
    check_base(base, [tmp_path / "data"], RECIPE)
