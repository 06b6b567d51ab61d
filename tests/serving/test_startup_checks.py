"""A robot and a model that do not fit are told apart before anything moves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from molmoact_ros.model.codebook import RELEASED
from molmoact_ros.policy.base import PolicyError
from molmoact_ros.policy.describe import describe_checkpoint
from molmoact_ros.policy.startup_checks import (
    ModelDescription,
    RobotDescription,
    in_one_sentence,
    startup_refusals,
)
from molmoact_ros.policy.wire.codec import WireError, pack, unpack
from molmoact_ros.policy.wire.handshake import from_wire, hello, read_hello, to_wire

ROBOT = RobotDescription(image_sizes=((320, 240), (320, 240)), unnorm_key="fr3", steering=True)
MODEL = ModelDescription("m", "r", "RANDOM", "fr3")


def test_a_fitting_pair_has_nothing_to_say() -> None:
    assert startup_refusals(ROBOT, MODEL) == []
    assert startup_refusals(replace(ROBOT, unnorm_key="", image_sizes=()), MODEL) == []
    assert startup_refusals(replace(ROBOT, period=0.067), MODEL) == []


@pytest.mark.parametrize(
    ("robot", "model", "words"),
    [
        ({"cameras": ("external",)}, {}, "the robot has 1 camera(s) (external) but"),
        ({"cameras": ("wrist", "external")}, {}, "in this order: rename or reorder"),
        ({}, {"image_size": (224, 224)}, "things would look squeezed: choose a camera mode"),
        ({"image_sizes": ((320, 240), (4096, 240))}, {}, "the wrist camera's pictures are 4096x"),
        ({"image_sizes": ((0, 240),)}, {}, "accepts 1 to 2048 pixels a side"),
        ({"dims": 8}, {}, "actions of 8 numbers but the model answers 7"),
        ({"unnorm_key": "other"}, {}, "statistics 'other' but the model scales"),
        ({"gripper": "0open_1closed"}, {}, "the robot's gripper convention is '0open_1closed'"),
        ({"period": 0.1}, {}, "set period to 0.06667"),
        ({"period": float("nan")}, {}, "set period to"),
        ({"period": 0.0}, {"period": 0.0}, "set period to"),
        ({}, {"frame": "tool"}, "in the base frame but the model answers them in the tool frame"),
        ({}, {"steering": False}, "cannot follow drawn traces"),
    ],
)
def test_each_mismatch_is_one_sentence_with_its_remedy(
    robot: dict[str, object], model: dict[str, object], words: str
) -> None:
    """Every one of these moved a real arm wrongly somewhere, or stopped it without words."""
    found = startup_refusals(replace(ROBOT, **robot), replace(MODEL, **model))
    assert any(words in sentence for sentence in found)
    assert all("\n" not in sentence and not sentence.endswith(".") for sentence in found)
    # Two cameras of the wrong size are two findings; all else is one.
    assert len(found) == (2 if "image_size" in model else 1)


def test_several_mismatches_are_counted() -> None:
    found = startup_refusals(replace(ROBOT, dims=6, period=1.0), MODEL)
    assert in_one_sentence(found) == f"{found[0]} (and 1 more)"
    assert in_one_sentence(found[:1]) == found[0]


def test_descriptions_travel_unchanged() -> None:
    model = replace(MODEL, image_size=(320, 240), period=1 / 10)
    assert read_hello(unpack(pack(hello(model)))) == model
    assert from_wire(RobotDescription, unpack(pack(to_wire(ROBOT)))) == ROBOT


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rows": 0}, "chunk is 0x7"),
        ({"dims": 6}, "names 7 actions"),
        ({"rows": True}, "'rows' is True"),
        ({"period": float("nan")}, "finite number"),
        ({"image_size": [1, 2, 3]}, "has 3 numbers"),
        ({"image_size": [0, 2]}, "from 1 to"),
        ({"cameras": "external"}, "'cameras' is str"),
        ({"cameras": [1]}, "send a text"),
        ({"name": None}, "'name' is missing"),
        ({"steering": 1}, "true or false"),
        ({"extra": 1}, "unknown field 'extra'"),
    ],
)
def test_a_description_that_makes_no_sense_is_refused(
    changes: dict[str, object], words: str
) -> None:
    message = hello(MODEL)
    message["model"].update(changes)
    with pytest.raises(WireError, match=words):
        read_hello(message)


def test_another_protocol_asks_for_the_same_version() -> None:
    with pytest.raises(WireError, match="protocol 1, this one 2; install the same version"):
        read_hello({**hello(MODEL), "protocol": 1})


@pytest.fixture(scope="module")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from molmoact_ros.model.nano import save_random_nano

    folder = tmp_path_factory.mktemp("nano")
    save_random_nano(folder, seed=3)
    return folder


def test_a_checkpoint_describes_itself(nano: Path) -> None:
    model = describe_checkpoint(nano, images=1)
    assert (model.unnorm_key, model.rows, model.dims) == ("molmoact_nano", 8, 7)
    assert model.cameras == ("external",) and model.period == pytest.approx(1 / 15)
    assert model.codebook == RELEASED, "no card: released weights write codes of vae-final.pt"
    assert startup_refusals(RobotDescription(cameras=("external",)), model) == []


def test_the_card_of_our_own_checkpoints_is_believed(nano: Path, tmp_path: Path) -> None:
    """A checkpoint taught at 10 Hz with other cameras must not drive as if it were the paper's."""
    config = json.loads((nano / "config.json").read_text())
    card = {"cameras": ["left", "right"], "fps": 10, "delta_frame": "tool"}
    config["norm_stats"]["molmoact_nano"]["molmo_ros"] = card
    (tmp_path / "config.json").write_text(json.dumps(config))
    model = describe_checkpoint(tmp_path)
    assert (model.cameras, model.frame) == (("left", "right"), "tool")
    assert model.period == pytest.approx(0.1) and model.codebook == ""
    card["depth_codebook"] = "0123456789abcdef"
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert describe_checkpoint(tmp_path).codebook == "0123456789abcdef"
    card["fps"] = -1
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(PolicyError, match="fps -1"):
        describe_checkpoint(tmp_path)


def test_the_revision_tells_two_trainings_apart(nano: Path, tmp_path: Path) -> None:
    one = describe_checkpoint(nano).revision
    assert one == describe_checkpoint(nano).revision
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((nano / name).read_bytes())
    assert describe_checkpoint(tmp_path).revision == one
    data = bytearray((nano / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / "model.safetensors").write_bytes(bytes(data))
    assert describe_checkpoint(tmp_path).revision != one


def test_a_snapshot_of_the_hub_is_named_by_its_commit(nano: Path, tmp_path: Path) -> None:
    folder = tmp_path / "models--allenai--MolmoAct-7B-D-0812" / "snapshots" / "0123abcd"
    folder.mkdir(parents=True)
    (folder / "config.json").write_bytes((nano / "config.json").read_bytes())
    model = describe_checkpoint(folder)
    assert (model.name, model.revision) == ("allenai/MolmoAct-7B-D-0812", "0123abcd")


@pytest.mark.parametrize(("key", "words"), [("nothing", "'nothing'"), (None, "config.json")])
def test_a_folder_that_cannot_be_described(
    nano: Path, tmp_path: Path, key: str | None, words: str
) -> None:
    with pytest.raises(PolicyError, match=words):
        describe_checkpoint(nano if key else tmp_path, key)
