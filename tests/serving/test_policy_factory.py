"""Start-up checks: a policy that does not fit its robot is refused before anything moves."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from serving_helpers import MODEL, eventually, observation, running

from molmoact_ros.model.nano import save_random_nano
from molmoact_ros.policy.base import PolicyError
from molmoact_ros.policy.factory import PolicySpec, make_policy
from molmoact_ros.policy.molmoact import MolmoActPolicy
from molmoact_ros.policy.remote import RemotePolicy
from molmoact_ros.policy.startup_checks import RobotDescription

ROBOT = RobotDescription()


@pytest.fixture(scope="module")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nano")
    save_random_nano(folder, seed=0)
    return folder


def test_a_model_that_fits_says_what_it_is(nano: Path) -> None:
    policy = make_policy(PolicySpec("molmoact", str(nano), robot=ROBOT))
    assert isinstance(policy, MolmoActPolicy)
    assert policy.model.unnorm_key == "molmoact_nano"
    assert policy.model.cameras == ("external", "wrist")
    assert "RANDOM" in policy.model.origin


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cameras": ("external",)}, "looks through 2"),
        ({"dims": 8}, "actions of 8 numbers but the model answers 7"),
        ({"gripper": "1closed_0open"}, "the fingers would move wrongly"),
        ({"period": 0.1}, "set period to 0.06667"),
        ({"unnorm_key": "fr3"}, "'fr3'"),
        ({"frame": "tool"}, "tool frame"),
        ({"image_sizes": ((4000, 3000), (640, 480))}, "choose another camera profile"),
    ],
)
def test_a_model_that_does_not_fit_is_refused_in_one_sentence_before_its_weights_are_read(
    nano: Path, tmp_path: Path, changes: dict, words: str
) -> None:
    for name in ("config.json", "README.md"):
        (tmp_path / name).write_bytes((nano / name).read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"unreadable")
    robot = dataclasses.replace(ROBOT, **changes)
    with pytest.raises(PolicyError) as caught:
        make_policy(PolicySpec("molmoact", str(tmp_path), robot=robot))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_remote_policy_is_made_from_the_same_settings() -> None:
    with running() as server:
        robot = dataclasses.replace(ROBOT, unnorm_key=MODEL.unnorm_key)
        spec = PolicySpec("remote", server=server.url, timeout=5.0, jpeg=False, robot=robot)
        policy = make_policy(spec)
        try:
            assert isinstance(policy, RemotePolicy)
            assert policy.model == MODEL
            policy.reset("pick up the cube")
            thought = policy.think(observation(9), lambda: False)
            assert np.array_equal(thought.actions, np.full((8, 7), 9.0))
        finally:
            policy.close()


def test_a_server_whose_model_does_not_fit_stops_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("molmoact_ros.policy.factory.START_WAIT_S", 60.0)
    with running() as server:
        robot = dataclasses.replace(ROBOT, cameras=("external",))
        with pytest.raises(PolicyError, match="does not fit: the robot has 1 camera"):
            make_policy(PolicySpec("remote", server=server.url, robot=robot))


def test_a_server_that_is_not_there_yet_does_not_stop_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Robot and GPU machine are switched on in any order; a goal says what is missing."""
    monkeypatch.setattr("molmoact_ros.policy.factory.START_WAIT_S", 0.05)
    policy = make_policy(PolicySpec("remote", server="ws://127.0.0.1:9", robot=ROBOT))
    assert isinstance(policy, RemotePolicy)
    assert policy.model is None and not policy.unfit
    assert "no connection" in policy.description or "not connected" in policy.description
    policy.close()


def test_an_occupied_server_does_not_stop_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """A robot that restarts meets its own old connection for some seconds."""
    monkeypatch.setattr("molmoact_ros.policy.factory.START_WAIT_S", 0.5)
    robot = dataclasses.replace(ROBOT, unnorm_key=MODEL.unnorm_key)
    with running() as server:
        spec = PolicySpec("remote", server=server.url, robot=robot)
        first = make_policy(spec)
        second = make_policy(spec)
        assert isinstance(first, RemotePolicy) and isinstance(second, RemotePolicy)
        assert eventually(lambda: "another robot" in second.description)
        assert not second.unfit
        second.close()
        first.close()


@pytest.mark.parametrize("server", ["", "http://x", "gpu-machine:8770"])
def test_an_address_that_cannot_be_one_stops_the_start(server: str) -> None:
    with pytest.raises(PolicyError, match="give ws://host:port"):
        make_policy(PolicySpec("remote", server=server))


def test_the_token_does_not_show_in_logs() -> None:
    assert "secret" not in repr(PolicySpec("remote", token="a secret of sixteen"))


def test_an_unknown_kind_names_the_known_ones() -> None:
    with pytest.raises(PolicyError, match="scripted, molmoact, remote"):
        make_policy(PolicySpec("gpt"))
