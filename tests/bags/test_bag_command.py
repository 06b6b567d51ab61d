"""`molmoact bag …` and playing: what a person without rosbag2 can do with an episode."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import av
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from bag_helpers import T0, image, photo, text, topic
from test_bag_check import Faults, episode

from molmoact_ros import bag_command
from molmoact_ros.bags.cdr import read_image, read_stamp_ns
from molmoact_ros.bags.metadata import BadBag
from molmoact_ros.bags.pictures import Codec, compress
from molmoact_ros.bags.reader import BagMessage, BagReader
from molmoact_ros.bags.schedule import Playback, expanded, moves_an_arm, paced, restamped
from molmoact_ros.bags.take import Take


def _run(*words: object) -> int:
    parser = argparse.ArgumentParser()
    bag_command.add_arguments(parser)
    return bag_command.run(parser.parse_args([str(word) for word in words]))


def test_info_and_check_of_a_folder_of_bags(tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    episode(tmp_path / "good", Faults(), seconds=12.0)
    episode(tmp_path / "wrong", Faults(gripper_sign=-1.0), seconds=12.0)
    assert _run("info", tmp_path, "--json") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [Path(line["bag"]).name for line in lines] == ["good", "wrong"]
    assert lines[0]["topics"]["/current_pose"] == 600
    assert lines[0]["origin"]["task"] == "pick up the cube"
    assert _run("check", tmp_path / "good") == 0
    assert "no faults found" in capsys.readouterr().out
    assert _run("check", tmp_path, "--fast") == 1
    assert "fingers open when told to close" in capsys.readouterr().out


def test_a_film_of_an_episode(tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    bag = episode(tmp_path / "e", Faults(), seconds=3.0)
    out = tmp_path / "film.mp4"
    assert _run("video", bag, "--out", out, "--fps", 5) == 0
    with av.open(str(out)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert 10 <= len(frames) <= 16 and frames[0].shape == (720, 1280, 3)
    assert frames[0].std() > 10, "an empty film shows nothing"


def test_recover_from_the_command_line(tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    bag = episode(tmp_path / "e", Faults(), seconds=2.0)
    file = bag / "e_0.mcap"
    file.write_bytes(file.read_bytes()[:-50])
    assert _run("info", bag) == 2
    assert "molmoact bag recover" in capsys.readouterr().err
    assert _run("recover", bag) == 0
    assert _run("info", bag) == 0
    assert "/current_pose" in capsys.readouterr().out


def test_messages_are_played_when_they_are_due() -> None:
    """Twice as fast means half the waiting; a late player catches up and skips nothing."""
    messages = [BagMessage("/n", "", T0 + i * 10**8, 0, b"") for i in range(5)]
    now, waits = [100.0], []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        now[0] += seconds

    played = []
    for message in paced(messages, T0, Playback(rate=2.0), lambda: now[0], sleep):
        played.append((round(now[0] - 100.0, 3), message.log_ns))
        if len(played) == 2:
            now[0] += 0.2
    assert [at for at, _ in played] == [0.0, 0.05, 0.25, 0.25, 0.25]
    assert len(played) == 5
    with pytest.raises(BadBag, match="rate"):
        Playback(rate=0.0)


def test_commands_are_not_played_by_accident() -> None:
    """A replayed target pose would move a real arm."""
    for name in ("/target_pose", "/target_twist", "/gripper_command", "/policy/chunk",
                 "/teleop/twist"):  # fmt: skip
        assert moves_an_arm(name)
    assert not moves_an_arm("/current_pose") and not moves_an_arm("/policy/reasoning")


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "16UC1"])
def test_pictures_become_images_again(encoding: str) -> None:
    depth = (np.arange(48 * 64).reshape(48, 64) % 3000).astype(np.uint16)
    pixels = depth if encoding == "16UC1" else photo(1)
    made = compress(image(T0, pixels, encoding, "optical"), Codec(quality=95))
    assert made is not None
    message = BagMessage("/c/compressed", "sensor_msgs/msg/CompressedImage", T0, T0, made[1])
    back = expanded(message)
    found = read_image(back.data)
    assert (back.topic, back.type) == ("/c", "sensor_msgs/msg/Image")
    assert (found.encoding, found.frame, found.stamp_ns) == (encoding, "optical", T0)
    values = np.frombuffer(found.data, pixels.dtype).reshape(pixels.shape)
    if encoding == "16UC1":
        assert (values == depth).all()
    else:
        assert np.abs(values.astype(int) - pixels).mean() < 4.0


def test_restamping_changes_the_stamp_only() -> None:
    data = image(T0, photo(0))
    new = restamped(data, T0 + 1_500_000_000)
    assert read_stamp_ns(new) == T0 + 1_500_000_000
    assert new[12:] == data[12:] and len(new) == len(data)


def test_a_bag_of_many_topics_reads_only_what_is_asked(tmp_path: Path) -> None:
    take = Take(tmp_path / "e", [topic("/a", "std_msgs/msg/String"),
                                 topic("/b", "std_msgs/msg/String")], {}, Codec())  # fmt: skip
    take.start()
    for i in range(10):
        take.put("/a" if i % 2 else "/b", T0 + i, T0 + i, text(str(i)))
    reader = BagReader(take.stop({}))
    assert [reader.decode(m).data for m in reader.messages(["/a"])] == list("13579")
    assert [m.log_ns - T0 for m in reader.messages(start_ns=T0 + 7)] == [7, 8, 9]
    with pytest.raises(BadBag, match="no such bag"):
        BagReader(tmp_path / "nothing.mcap")
