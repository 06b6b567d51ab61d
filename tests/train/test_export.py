"""What an export contains: the released layout, the right statistics, proof by training answers."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from molmoact_ros.data.dataset import STATISTICS
from molmoact_ros.model.checkpoint import load_checkpoint, read_origin, write_card
from molmoact_ros.model.config import load_config, read_json
from molmoact_ros.model.lora import load_adapter, merge_adapter
from molmoact_ros.model.random_weights import tensor_shapes
from molmoact_ros.model.weight_files import read_table
from molmoact_ros.policy.describe import describe_checkpoint
from molmoact_ros.reasoning.statistics import read_statistics, statistics_key
from molmoact_ros.train import export, samples
from molmoact_ros.train.export import SELF_TEST_ANSWERS, SelfTest, export_run, self_test
from molmoact_ros.train.loop import Trainer
from molmoact_ros.train.processes import World
from molmoact_ros.train.sizes import save_untrained
from molmoact_ros.train.stream import Source

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
from data_helpers import CARD
from train_helpers import make_data, small_recipe, source_of

GOLDEN = Path(__file__).resolve().parents[1] / "golden/models/state_dict_shapes_7B.json"
ALONE = World(0, 1, torch.device("cpu"))
ANOTHER = {"action": {"q01": [0.0] * 7, "q99": [1.0] * 7}, "molmo_ros": {"default": True}}


def exported(source: Source, folder: Path) -> SelfTest:
    """Trained for a step below ``folder``, exported to ``folder``/out."""
    run = folder / "run"
    outcome = Trainer(source, run, ALONE).run()
    (run / "recipe.json").write_text(source.recipe.to_json())
    return export_run(
        run, source.base, source.folders, folder / "out", outcome.checkpoint, source.recipe
    )


@pytest.fixture(scope="module", params=["full", "lora"])
def made(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Source, SelfTest]:
    """A fine-tune of a network that knew another robot, by 60 ticks and more."""
    folder = tmp_path_factory.mktemp(request.param)
    make_data(folder / "data", 4, 30)
    recipe = small_recipe(steps=1, method=request.param, rank=4, alpha=2)
    source = source_of(folder, recipe)
    config = read_json(source.base / "config.json")
    config["norm_stats"] = {"another_robot": ANOTHER}
    (source.base / "config.json").write_text(json.dumps(config))
    # The name alone must not decide that nothing is inherited.
    source = replace(source, base=source.base.rename(folder / "start"))
    return folder / "out", source, exported(source, folder)


def test_fifty_training_answers_come_back(made: tuple[Path, Source, SelfTest]) -> None:
    assert made[2] == SelfTest(SELF_TEST_ANSWERS, 0) and SELF_TEST_ANSWERS == 50


@pytest.mark.parametrize("depth", ["sensor", "none"])
def test_thoughts_come_back_with_depth_and_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, depth: str
) -> None:
    """What was trained on traces reasons on the robot, so that is what must come back."""
    data = make_data(tmp_path / "data", 1, 12, replace(CARD, depth_source=depth))
    source = source_of(tmp_path, small_recipe())
    asked: list[samples.Asked] = []

    def told(*what: Any) -> samples.Asked:
        asked.append(samples.asked(*what))
        return asked[-1]

    monkeypatch.setattr(export, "asked", told)
    test = self_test(source.base, data)
    assert test.passed and test.answers == len(asked) > 5
    assert {made.kind for made in asked} == {"reason"}
    assert all(("<DEPTH_START>" in made.answer) == (depth == "sensor") for made in asked)
    monkeypatch.setattr(export, "asked", lambda *what: replace(told(*what), answer=" [[]]"))
    test = self_test(source.base, data)
    assert not test.passed and "list of actions" in test.refused


def in_kind(name: str) -> str:
    """A tensor's name without the number of its block."""
    return ".".join("*" if part.isdigit() else part for part in name.split("."))


def test_the_tensors_are_those_of_a_released_checkpoint(
    made: tuple[Path, Source, SelfTest],
) -> None:
    """Names are those of MolmoAct-7B-D's index, shapes what config.json asks for, all bfloat16."""
    out = made[0]
    table = read_table(out)
    wanted = tensor_shapes(load_config(out))
    assert {name: stored.shape for name, stored in table.items()} == wanted
    assert {stored.dtype for stored in table.values()} == {torch.bfloat16}
    released = {in_kind(name): shape for name, shape in json.loads(GOLDEN.read_text())["D"].items()}
    found = {in_kind(name): stored.shape for name, stored in table.items()}
    assert found.keys() == released.keys()
    assert all(len(found[name]) == len(released[name]) for name in found)
    with safe_open(str(out / "model.safetensors"), framework="pt") as file:
        assert file.metadata() == {"format": "pt"}
    files = {path.name for path in out.iterdir() if path.is_file()}
    assert {"config.json", "generation_config.json", "preprocessor_config.json", "tokenizer.json",
            "README.md", "card.json", "dataset_statistics.json", "recipe.json"} < files  # fmt: skip


def test_the_merged_weights_are_the_base_with_the_adapter(
    made: tuple[Path, Source, SelfTest], tmp_path: Path
) -> None:
    """They exist in the file; in memory a layer at a time, for seven billion numbers do not fit."""
    out, source, _ = made
    after = load_checkpoint(out, dtype=None).model.state_dict()
    base = load_checkpoint(source.base).model
    if source.recipe.method == "full":
        assert not (out / "adapter").exists()
        before = base.state_dict()
        assert not torch.equal(after["lm_head.weight"], before["lm_head.weight"].bfloat16())
        return
    adapter = load_adapter(out / "adapter")
    places = [tensor.data_ptr() for tensor in base.state_dict().values()]
    export._save_weights(tmp_path, base, adapter)
    assert [tensor.data_ptr() for tensor in base.state_dict().values()] == places
    weights = "model.safetensors"
    assert (tmp_path / weights).read_bytes() == (out / weights).read_bytes()
    assert merge_adapter(base, adapter) > 10
    for name, tensor in base.state_dict().items():
        assert torch.equal(after[name], tensor.bfloat16()), name


def test_a_fine_tune_drives_by_its_own_statistics_without_being_told(
    made: tuple[Path, Source, SelfTest],
) -> None:
    out, source, _ = made
    table = load_config(out).norm_stats
    assert set(table) == {"test_arm", "another_robot"}, "those of the base are kept"
    own = read_json(source.folders[0] / STATISTICS)["test_arm"]["action"]["q01"]
    assert read_statistics({"norm_stats": table}).q01.tolist() == own
    assert describe_checkpoint(out).unnorm_key == statistics_key(table) == "test_arm"
    assert statistics_key(table, "another_robot") == "another_robot"
    assert "default" not in table["another_robot"].get("molmo_ros", {}), "no longer one"


def test_statistics_of_random_weights_are_not_inherited(tmp_path: Path) -> None:
    """A new network carries those of the first set at hand; they say nothing about any robot."""
    source = source_of(tmp_path, small_recipe(steps=1))
    save_untrained(tmp_path / "new", "nano", source.folders[0], 0)
    write_card(source.base, "# tiny", read_origin(tmp_path / "new"))
    config = read_json(source.base / "config.json")
    config["norm_stats"]["old"] = ANOTHER
    (source.base / "config.json").write_text(json.dumps(config))
    exported(source, tmp_path)
    assert list(load_config(tmp_path / "out").norm_stats) == ["test_arm"]
    assert "from nothing" in read_origin(tmp_path / "out")


def test_two_keys_that_both_call_themselves_the_default_are_no_choice() -> None:
    with pytest.raises(ValueError, match="choose one of: a, b"):
        statistics_key({"a": ANOTHER, "b": ANOTHER})
    assert statistics_key({"a": ANOTHER, "b": {"action": {}}}) == "a"
