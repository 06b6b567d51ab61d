"""An openpi client drives with MolmoAct: in its message format, and with its own package."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

sys.path.insert(0, str(Path(__file__).parent))
from serving_helpers import Running, eventually, raw, running

KEYS = ("observation/exterior_image_1_left", "observation/wrist_image_left")
PICTURE = np.full((24, 32, 3), 5, np.uint8)


@pytest.fixture
def server() -> Iterator[Running]:
    with running() as up:
        yield up


def array(value: np.ndarray, **changes: object) -> dict[bytes, object]:
    fields = {b"__ndarray__": True, b"data": value.tobytes(), b"dtype": value.dtype.str}
    named = {name.encode(): change for name, change in changes.items()}
    return {**fields, b"shape": value.shape, **named}


def decoded(entry: dict[Any, Any]) -> Any:
    if b"__ndarray__" in entry:
        return np.frombuffer(entry[b"data"], entry[b"dtype"]).reshape(entry[b"shape"])
    return entry


def observed(**changes: object) -> dict[str, object]:
    """What openpi's DROID example sends."""
    seen: dict[str, object] = {
        KEYS[0]: array(PICTURE),
        KEYS[1]: array(PICTURE),
        "observation/joint_position": array(np.zeros(7)),
        "observation/gripper_position": array(np.zeros(1, np.float32)),
        "observation/flag": {b"__npgeneric__": True, b"data": True, b"dtype": "|b1"},
        "prompt": "pick up the cube",
    }
    return {key: value for key, value in {**seen, **changes}.items() if value is not None}


class Openpi:
    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.metadata = msgpack.unpackb(socket.recv(10.0), object_hook=decoded)

    def infer(self, message: object) -> Any:
        data = message if isinstance(message, (bytes, str)) else msgpack.packb(message)
        self.socket.send(data)
        reply = self.socket.recv(10.0)
        return reply if isinstance(reply, str) else msgpack.unpackb(reply, object_hook=decoded)


@contextmanager
def openpi(server: Running) -> Iterator[Openpi]:
    with connect(server.url + "/openpi", proxy=None, compression=None) as socket:
        yield Openpi(socket)


def test_metadata_say_who_answers_and_which_keys_to_send(server: Running) -> None:
    with openpi(server) as client:
        assert client.metadata["name"] == "fake"
        assert client.metadata["origin"] == "RANDOM, a test"
        assert client.metadata["gripper"] == "1open_0closed"
        assert client.metadata["observation_keys"]["external"][0] == KEYS[0]
        assert client.metadata["observation_keys"]["wrist"][0] == KEYS[1]


def test_an_observation_is_answered_with_a_chunk_and_timing(server: Running) -> None:
    with openpi(server) as client:
        first = client.infer(observed())
        assert first["actions"].dtype == np.float64
        assert np.array_equal(first["actions"], np.full((8, 7), 5.0))
        assert first["server_timing"]["infer_ms"] >= 0
        assert "prev_total_ms" not in first["server_timing"]
        assert client.infer(observed())["server_timing"]["prev_total_ms"] > 0


def test_only_the_actions_are_an_array(server: Running) -> None:
    """openpi's ActionChunkBroker takes row k of every array it finds."""
    with openpi(server) as client:
        reply = client.infer(observed())
        assert [k for k, v in reply.items() if isinstance(v, np.ndarray)] == ["actions"]


def test_a_new_prompt_is_a_new_goal(server: Running) -> None:
    with openpi(server) as client:
        for prompt in ("pick up the cube", "pick up the cube", "put it down"):
            client.infer(observed(prompt=prompt))
    assert server.policy.resets == ["pick up the cube", "put it down"]
    assert server.policy.seen[-1].instruction == "put it down"


@pytest.mark.parametrize("keys", [("observation/image", "observation/wrist_image"),
                                  ("image", "wrist_image")])  # fmt: skip
def test_other_names_of_the_pictures_are_understood(server: Running, keys: tuple[str, str]) -> None:
    with openpi(server) as client:
        seen = observed(**{KEYS[0]: None, KEYS[1]: None})
        seen[keys[0]], seen[keys[1]] = array(PICTURE), array(PICTURE + 1)
        assert client.infer(seen)["actions"].shape == (8, 7)
    assert server.policy.seen[0].images[1][0, 0, 0] == 6


OBJECTS = np.array([1])


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (observed(**{KEYS[1]: None}), "no wrist; send it as observation/wrist_image_left or"),
        (observed(prompt=None), "no instruction; send it as prompt"),
        (observed(prompt="  "), "empty"),
        (observed(prompt=5), "'prompt'"),
        (observed(prompt="nonsense"), "the thought was refused: the rows are cut"),
        (observed(prompt="something impossible"), "cannot do that"),
        (observed(prompt="crash"), "KeyError"),
        (observed(prompt="misshapen"), "told [8, 7]"),
        (observed(**{KEYS[0]: array(PICTURE.transpose(2, 0, 1))}), "send RGB uint8"),
        (observed(**{KEYS[0]: array(PICTURE / 255.0)}), "send RGB uint8"),
        (observed(extra=array(OBJECTS, dtype="|O", data=pickle.dumps([1]))), "'|O' are refused"),
        (observed(extra=array(OBJECTS, dtype="object")), "refused"),
        (observed(extra=array(OBJECTS, dtype="<M8[s]")), "refused"),
        (observed(extra=array(OBJECTS, dtype=[["a", "<i8"]])), "refused"),
        (observed(extra=array(OBJECTS, shape=[2])), "needs 16 bytes"),
        (observed(extra={b"__npgeneric__": True, b"data": b"x", b"dtype": "|S1"}), "scalar holds"),
        ({b"prompt": b"x"}, "text keys"),
        ([1, 2], "no map"),
        (b"\xc1", "not a valid msgpack"),
        ("text", "a text message"),
    ],
)
def test_what_cannot_be_answered_is_said_as_text_and_the_connection_lives(
    server: Running, message: object, words: str
) -> None:
    """openpi's client raises on a text message; the next observation must work again."""
    with openpi(server) as client:
        reply = client.infer(message)
        assert isinstance(reply, str) and words in reply
        assert client.infer(observed())["actions"].shape == (8, 7)


def test_it_counts_as_the_one_robot(server: Running) -> None:
    with openpi(server), raw(server.url, shaken=False) as second:
        assert "another robot" in second.hear()["message"]
    assert eventually(lambda: comes_in(server))
    with raw(server.url), connect(server.url + "/openpi", proxy=None) as late:
        with pytest.raises(ConnectionClosed) as closed:
            late.recv(5.0)
        assert closed.value.rcvd is not None and "another robot" in closed.value.rcvd.reason


def comes_in(server: Running) -> bool:
    with raw(server.url, shaken=False) as client:
        return client.hear()["type"] == "hello"


def test_a_client_that_leaves_stops_its_thought(server: Running) -> None:
    server.policy.hold.clear()
    with connect(server.url + "/openpi", proxy=None) as socket:
        socket.recv(5.0)
        socket.send(msgpack.packb(observed()))
        assert server.policy.entered.wait(5.0)
    assert eventually(lambda: server.policy.canceled == 1)


def test_openpis_own_package_gets_its_chunk() -> None:
    """./run test installs it without its dependencies: it asks for numpy below 2."""
    package = pytest.importorskip("openpi_client.websocket_client_policy")
    token = "0123456789abcdef"
    with running(token=token) as server:
        client = package.WebsocketClientPolicy(host=server.url + "/openpi", api_key=token)
        assert client.get_server_metadata()["unnorm_key"] == "fr3"
        seen = {KEYS[0]: PICTURE, KEYS[1]: PICTURE, "prompt": "go", "state": np.float32(1.5)}
        assert np.array_equal(client.infer(seen)["actions"], np.full((8, 7), 5.0))
        with pytest.raises(RuntimeError, match="no instruction"):
            client.infer({KEYS[0]: PICTURE, KEYS[1]: PICTURE})
        assert client.infer(seen)["actions"].shape == (8, 7)
