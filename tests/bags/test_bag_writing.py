"""A take becomes a rosbag2 folder that other people's readers accept, type hashes included."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))
from bag_helpers import T0, image, photo, read_all, text, topic
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from rosbags.typesys import Stores, get_typestore

from molmoact_ros.bags.cdr import CdrWriter
from molmoact_ros.bags.definitions import UnknownType, load_definition
from molmoact_ros.bags.events import EVENT, EpisodeEvent, Event
from molmoact_ros.bags.label import label
from molmoact_ros.bags.metadata import BadBag
from molmoact_ros.bags.pictures import Codec, decode_colour, decode_depth
from molmoact_ros.bags.reader import BagReader
from molmoact_ros.bags.take import Take

IMAGE = "sensor_msgs/msg/Image"


def _record(folder: Path, codec: Codec | None = None, count: int = 20) -> Path:
    take = Take(
        folder,
        [
            topic("/cam/image_raw", IMAGE, reliable=False, depth=5),
            topic("/depth/image_raw", IMAGE, reliable=False),
            topic("/odd", IMAGE),
            topic("/note", "std_msgs/msg/String", latched=True),
            topic("/event", EVENT),
            topic("/silent", "molmoact_msgs/msg/Reasoning"),
        ],
        {"task": "pick up the cube"},
        codec or Codec(),
    )
    take.start()
    for i in range(count):
        stamp = T0 + i * 33_000_000
        depth = np.full((48, 64), 700 + i, np.uint16)
        assert take.put("/cam/image_raw", stamp, stamp, image(stamp, photo(i)))
        assert take.put("/depth/image_raw", stamp, stamp, image(stamp, depth, "16UC1"))
        assert take.put("/note", stamp, stamp, text(f"note {i}"))
    floats = np.full((48, 64), 1.5, np.float32)
    take.put("/odd", T0, T0, image(T0, floats, "32FC1"))
    mark = EpisodeEvent(T0, Event.STARTED, "episode_000001", "pick", "Ana", text='{"a": 1}')
    take.put("/event", T0, T0, mark.serialized())
    path = take.stop({"ended": "stopped"})
    assert not take.error
    return path


def test_rosbags_reads_every_message_and_agrees_about_the_types(tmp_path: Path) -> None:
    """rosbags computes RIHS01 hashes itself and refuses a bag whose hashes are invented."""
    bag = _record(tmp_path / "episode_000001")
    found = read_all(bag)
    counts = {name: len(entries) for name, entries in found.items()}
    assert counts == {
        "/cam/image_raw/compressed": 20,
        "/depth/image_raw/compressedDepth": 20,
        "/note": 20,
        "/odd": 1,
        "/event": 1,
    }


def test_hashes_are_those_of_ros() -> None:
    """The hash of the .json that ROS installs equals the one computed from the definition."""
    store = get_typestore(Stores.ROS2_JAZZY)
    for name in ("sensor_msgs/msg/Image", "geometry_msgs/msg/PoseStamped", "std_msgs/msg/String"):
        assert load_definition(name).hash == store.hash_rihs01(name)


def test_our_own_types_carry_their_whole_definition() -> None:
    """A reader without molmoact_msgs needs the nested types, too."""
    definition = load_definition("molmoact_msgs/msg/Reasoning")
    for nested in ("DepthTokens", "VisualTrace", "TracePoint", "ActionChunk", "StageTiming"):
        assert f"MSG: molmoact_msgs/{nested}\n" in definition.text
    assert definition.hash.startswith("RIHS01_") and len(definition.hash) == 71
    assert definition.stamped and not load_definition("std_msgs/msg/String").stamped


def test_an_unknown_type_says_what_to_install() -> None:
    with pytest.raises(UnknownType, match="ros-jazzy-nobody-msgs"):
        load_definition("nobody_msgs/msg/Thing")


def test_mcap_and_its_ros2_decoder_read_it(tmp_path: Path) -> None:
    """Foxglove and `mcap cat` need a summary, indexes and right checksums."""
    bag = _record(tmp_path / "e")
    with (bag / "e_0.mcap").open("rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()], validate_crcs=True)
        summary = reader.get_summary()
        assert summary is not None and summary.statistics is not None
        assert summary.statistics.message_count == 62
        notes = [m.data for *_, m in reader.iter_decoded_messages(topics=["/note"])]
        events = [m for *_, m in reader.iter_decoded_messages(topics=["/event"])]
    assert notes == [f"note {i}" for i in range(20)]
    assert (events[0].episode_id, events[0].operator_name, events[0].text, events[0].outcome) == (
        ("episode_000001", "Ana", '{"a": 1}', 255)
    )


def test_metadata_is_rosbag2_version_nine(tmp_path: Path) -> None:
    """ros2 bag refuses a folder whose metadata lacks a key."""
    bag = _record(tmp_path / "e")
    found = yaml.safe_load((bag / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert list(found) == [
        "version", "storage_identifier", "duration", "starting_time", "message_count",
        "topics_with_message_count", "compression_format", "compression_mode",
        "relative_file_paths", "files", "custom_data", "ros_distro",
    ]  # fmt: skip
    assert (found["version"], found["storage_identifier"]) == (9, "mcap")
    assert found["message_count"] == 62
    assert found["starting_time"]["nanoseconds_since_epoch"] == T0
    assert found["duration"]["nanoseconds"] == 19 * 33_000_000
    by_name = {t["topic_metadata"]["name"]: t for t in found["topics_with_message_count"]}
    assert by_name["/silent"]["message_count"] == 0
    qos = by_name["/note"]["topic_metadata"]["offered_qos_profiles"][0]
    assert (qos["durability"], qos["reliability"]) == ("transient_local", "reliable")
    camera = by_name["/cam/image_raw/compressed"]["topic_metadata"]["offered_qos_profiles"][0]
    assert camera["reliability"] == "best_effort"
    assert found["custom_data"]["ended"] == "stopped"


def test_messages_are_the_published_bytes(tmp_path: Path) -> None:
    """Never decoded, never rewritten: what came is what is stored."""
    bag = _record(tmp_path / "e")
    found = read_all(bag)
    assert [data for _, data in found["/note"]] == [text(f"note {i}") for i in range(20)]
    assert found["/odd"][0][1] == image(T0, np.full((48, 64), 1.5, np.float32), "32FC1")


def test_colour_is_jpeg_of_high_quality_and_depth_is_exact(tmp_path: Path) -> None:
    bag = _record(tmp_path / "e")
    reader = BagReader(bag)
    for message in reader.messages(["/cam/image_raw/compressed"]):
        decoded = reader.decode(message)
        index = (message.log_ns - T0) // 33_000_000
        picture = decode_colour(decoded.format, bytes(decoded.data))
        error = picture.astype(float) - photo(index)
        assert 10 * np.log10(255**2 / np.mean(error**2)) > 30.0
        assert decoded.format == "rgb8; jpeg compressed bgr8"
        assert decoded.header.frame_id == "camera"
    for message in reader.messages(["/depth/image_raw/compressedDepth"]):
        decoded = reader.decode(message)
        index = (message.log_ns - T0) // 33_000_000
        assert (decode_depth(decoded.format, bytes(decoded.data)) == 700 + index).all()


def test_raw_images_by_choice(tmp_path: Path) -> None:
    bag = _record(tmp_path / "e", Codec(colour=False, depth=False), count=3)
    found = read_all(bag)
    assert found["/cam/image_raw"][1][1] == image(T0 + 33_000_000, photo(1))
    assert "/cam/image_raw/compressed" not in found and len(found["/depth/image_raw"]) == 3


def test_rows_with_padding_are_compressed_right(tmp_path: Path) -> None:
    """Some drivers pad rows; a picture read without its step leans to one side."""
    from molmoact_ros.bags.pictures import compress

    rgb = photo(3)
    padded = np.zeros((48, 64 * 3 + 8), np.uint8)
    padded[:, : 64 * 3] = rgb.reshape(48, -1)
    data = CdrWriter().header(T0, "c").uint32(48).uint32(64).string("rgb8").uint8(0)
    made = compress(data.uint32(200).octets(padded.tobytes()).bytes(), Codec())
    plain = compress(image(T0, rgb), Codec())
    assert made is not None and plain is not None
    jpeg = [bytes(m[1][m[1].index(b"\xff\xd8") :]) for m in (made, plain)]
    assert jpeg[0] == jpeg[1]
    assert cv2.imdecode(np.frombuffer(jpeg[0], np.uint8), cv2.IMREAD_COLOR).shape == (48, 64, 3)


def test_a_broken_image_is_kept_as_it_came(tmp_path: Path) -> None:
    """A driver's nonsense must neither stop the take nor vanish."""
    take = Take(tmp_path / "e", [topic("/cam", IMAGE)], {}, Codec())
    take.start()
    broken = image(T0, photo(0))[:100]
    take.put("/cam", T0, T0, broken)
    bag = take.stop({})
    assert [m.data for m in BagReader(bag).messages()] == [broken]


def test_what_does_not_fit_is_counted_not_hidden(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """A slow disk may cost messages, but the operator must see how many."""
    monkeypatch.setattr("molmoact_ros.bags.take.QUEUE_BYTES", 5_000)
    take = Take(tmp_path / "e", [topic("/note", "std_msgs/msg/String")], {}, Codec())
    kept = sum(take.put("/note", T0, T0, text("x" * 1000)) for _ in range(10))
    take.start()
    bag = take.stop({})
    assert kept == 4 and take.dropped["/note"] == 6
    assert BagReader(bag).counts["/note"] == 4


def test_an_episode_name_is_never_used_twice(tmp_path: Path) -> None:
    (tmp_path / "e").mkdir()
    with pytest.raises(BadBag, match="exists already"):
        Take(tmp_path / "e", [topic("/note", "std_msgs/msg/String")], {}, Codec())


def test_labels_are_in_the_bag_and_can_be_changed(tmp_path: Path) -> None:
    """The outcome is known after the file was closed; it must travel with the file all the same."""
    bag = _record(tmp_path / "e")
    before = read_all(bag)
    label(bag, "failure", "slipped")
    label(bag, "success", "no, it worked")
    assert read_all(bag) == before
    custom = BagReader(bag).custom
    assert (custom["outcome"], custom["note"]) == ("success", "slipped; no, it worked")
    assert custom["state"] == "complete" and custom["task"] == "pick up the cube"
    with (bag / "e_0.mcap").open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        inside = [m.metadata for m in reader.iter_metadata() if m.name == "episode"][-1]
        assert sum(1 for _ in reader.iter_messages()) == 62
    assert inside == custom
    with pytest.raises(BadBag, match="use one of"):
        label(bag, "great")


def test_a_take_that_nobody_feeds_is_a_valid_empty_bag(tmp_path: Path) -> None:
    take = Take(tmp_path / "e", [topic("/note", "std_msgs/msg/String")], {"task": "x"}, Codec())
    take.start()
    time.sleep(0.1)
    bag = take.stop({})
    reader = BagReader(bag)
    assert list(reader.messages()) == [] and reader.custom["task"] == "x"
