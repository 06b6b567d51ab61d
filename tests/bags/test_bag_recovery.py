"""A recording that is cut off anywhere becomes a readable bag, short of half a second."""

from __future__ import annotations

import errno
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from bag_helpers import T0, image, photo, read_all, text, topic, wait_until
from mcap.reader import make_reader

from molmoact_ros.bags.label import label
from molmoact_ros.bags.mcap_contents import scan
from molmoact_ros.bags.metadata import BadBag, read_document, set_custom
from molmoact_ros.bags.pictures import Codec
from molmoact_ros.bags.reader import BagReader
from molmoact_ros.bags.recovery import find_unfinished, recover, recover_all
from molmoact_ros.bags.take import Take

STRING = "std_msgs/msg/String"
WRITER = """
import sys, time
sys.path.insert(0, {here!r})
from pathlib import Path
from bag_helpers import image, photo, text, topic
from molmoact_ros.bags.pictures import Codec
from molmoact_ros.bags.take import Take
topics = [topic('/n', 'std_msgs/msg/String'), topic('/cam', 'sensor_msgs/msg/Image')]
take = Take(Path({folder!r}), topics, {{'task': 'x'}}, Codec())
take.start()
i = 0
while True:
    now = time.time_ns()
    take.put('/n', now, now, text(str(now)))
    if {images} and i % 5 == 0:
        take.put('/cam', now, now, image(now, photo(i % 7)))
    i += 1
    print(now, flush=True)
    time.sleep(0.01)
"""


def _unfinished(folder: Path, count: int = 300) -> Path:
    """A copy of a bag as a killed recorder leaves it, with several chunks."""
    take = Take(folder, [topic("/n", STRING)], {"task": "x"}, Codec())
    take.start()
    for i in range(count):
        take.put("/n", T0 + i * 10**7, T0 + i * 10**7, text(f"message {i}"))
        if i % (count // 3) == count // 3 - 1:
            time.sleep(0.5)
    copy = folder.parent / "copy" / f"{folder.name}.partial"
    shutil.copytree(take.writer.path, copy)
    take.stop({})
    return copy


@pytest.mark.parametrize("images", [True, False])
def test_kill_costs_the_last_moment_only(tmp_path: Path, images: bool) -> None:
    """Low rates are the hard case: without images a chunk would fill for minutes."""
    folder = tmp_path / "episode_000001"
    here = str(Path(__file__).parent)
    code = WRITER.format(here=here, folder=str(folder), images=images)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    sent = [int(process.stdout.readline()) for _ in range(250)]
    process.send_signal(signal.SIGKILL)
    sent += [int(line) for line in process.stdout.read().split()]
    process.wait()
    saved, problems = recover_all(tmp_path)
    assert not problems and [one.folder.name for one in saved] == ["episode_000001"]
    found = read_all(folder)
    stamps = [stamp for stamp, _ in found["/n"]]
    assert stamps == sent[: len(stamps)], "what is left must be a beginning, without holes"
    # A starved process closes its chunks later; benchmarks/recorder.py measures the half second.
    assert (sent[-1] - stamps[-1]) * 1e-9 <= 2.0
    custom = BagReader(folder).custom
    assert custom["recovered"] == "true" and custom["task"] == "x"


def test_a_cut_at_any_byte_is_recovered(tmp_path: Path) -> None:
    """A pulled plug leaves any length; recovery never gives up and never invents messages."""
    whole = _unfinished(tmp_path / "e")
    file = whole / "e_0.mcap"
    data = file.read_bytes()
    complete = scan(file)
    chunk_ends = [c.chunk_start_offset + c.chunk_length for c in complete.chunks]
    assert len(chunk_ends) >= 2, "the test needs more than one chunk"
    cuts = {len(data), len(data) - 1, 9, 40, *chunk_ends, *(end - 1 for end in chunk_ends)}
    cuts |= {len(data) * i // 17 for i in range(1, 17)} | {end + 20 for end in chunk_ends}
    for cut in sorted(cuts):
        folder = tmp_path / f"cut{cut}.partial"
        shutil.copytree(whole, folder)
        (folder / "e_0.mcap").write_bytes(data[:cut])
        done = recover(folder)
        found = read_all(done.folder).get("/n", []) if done.messages else []
        assert [d for _, d in found] == [text(f"message {i}") for i in range(len(found))]
        expected = sum(end <= cut for end in chunk_ends)
        assert (done.messages > 0) == (expected > 0), cut
        with (done.folder / "e_0.mcap").open("rb") as mcap:
            reader = make_reader(mcap, validate_crcs=True)
            assert sum(1 for _ in reader.iter_messages(topics=["/n"])) == done.messages


def test_a_damaged_chunk_is_set_aside_and_the_rest_is_read(tmp_path: Path) -> None:
    """One bad sector must not cost the episode; nothing is thrown away either."""
    folder = _unfinished(tmp_path / "e")
    file = folder / "e_0.mcap"
    chunk = scan(file).chunks[1]
    size = file.stat().st_size
    data = bytearray(file.read_bytes())
    data[chunk.chunk_start_offset + chunk.chunk_length // 2] ^= 0xFF
    file.write_bytes(data)
    done = recover(folder)
    assert done.bad_chunks == 1 and "damaged" in done.sentence
    found = [d for _, d in read_all(done.folder)["/n"]]
    assert text("message 0") in found and text("message 299") in found
    assert (done.folder / "e_0.mcap").stat().st_size > size - 100


def test_no_extra_disk_space_is_needed(tmp_path: Path) -> None:
    """A full disk is the usual reason for a broken bag; a copy would not fit."""
    folder = _unfinished(tmp_path / "e")
    size = (folder / "e_0.mcap").stat().st_size
    done = recover(folder)
    assert (done.folder / "e_0.mcap").stat().st_size - size < 2_000
    assert [path.name for path in sorted(done.folder.iterdir())] == ["e_0.mcap", "metadata.yaml"]


def test_a_crash_while_labelling_is_found_and_mended(tmp_path: Path) -> None:
    take = Take(tmp_path / "e", [topic("/n", STRING)], {"task": "x"}, Codec())
    take.start()
    for i in range(50):
        take.put("/n", T0 + i, T0 + i, text(str(i)))
    bag = take.stop({"ended": "stopped"})
    file = bag / "e_0.mcap"
    set_custom(bag, {"state": "labelling", "outcome": "success"})
    file.write_bytes(file.read_bytes()[:-60])
    assert find_unfinished(tmp_path) == [bag]
    recover(bag)
    assert len(read_all(bag)["/n"]) == 50
    assert "recovered" not in BagReader(bag).custom, "nothing of the recording was lost"
    assert label(bag, "success")["outcome"] == "success"


def test_finished_bags_and_other_peoples_are_left_alone(tmp_path: Path) -> None:
    take = Take(tmp_path / "e", [topic("/n", STRING)], {}, Codec())
    take.start()
    take.stop({})
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    (stranger / "metadata.yaml").write_text("rosbag2_bagfile_information: nonsense\n")
    assert find_unfinished(tmp_path) == []
    assert recover_all(tmp_path) == ([], [])


def test_hopeless_files_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "e.partial"
    folder.mkdir()
    (folder / "e_0.mcap").write_bytes(b"")
    saved, problems = recover_all(tmp_path)
    assert saved == [] and "nothing can be recovered" in problems[0]
    with pytest.raises(BadBag, match="molmoact bag recover"):
        BagReader(folder)


def test_metadata_exists_from_the_start(tmp_path: Path) -> None:
    """Folders without it are an old wound of rosbag2; silent topics are named only there."""
    take = Take(tmp_path / "e", [topic("/n", STRING)], {"task": "x"}, Codec())
    take.start()
    found = read_document(take.writer.path)
    assert found["custom_data"] == {"task": "x", "state": "recording"}
    assert found["topics_with_message_count"][0]["topic_metadata"]["name"] == "/n"
    take.stop({})


def test_a_full_disk_ends_the_take_and_keeps_what_was_written(tmp_path: Path) -> None:
    take = Take(tmp_path / "e", [topic("/n", STRING)], {}, Codec())
    take.start()
    for i in range(100):
        take.put("/n", T0 + i, T0 + i, text(str(i)))
    assert wait_until(lambda: take.written["/n"] == 100)
    time.sleep(0.6)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    take.writer.write = full  # type: ignore[method-assign]
    take.put("/n", T0 + 200, T0 + 200, text("too much"))
    assert wait_until(lambda: bool(take.failure)) and take.disk_full
    assert not take.put("/n", T0 + 300, T0 + 300, text("refused"))
    path = take.stop({})
    assert path.name == "e.partial"
    assert recover(path).messages == 100


def test_a_writer_thread_that_dies_is_noticed(tmp_path: Path) -> None:
    """An error nobody foresaw must stop the take, not record nothing for an hour."""
    take = Take(tmp_path / "e", [topic("/n", STRING)], {}, Codec())
    take.start()
    take.put("/n", T0, T0, text("good"))
    assert wait_until(lambda: take.written["/n"] == 1)
    time.sleep(0.6)

    def crash(*_: object) -> None:
        raise MemoryError("planted")

    take.writer.write = crash  # type: ignore[method-assign]
    take.put("/n", T0 + 1, T0 + 1, text("lost"))
    assert wait_until(lambda: "died" in take.failure)
    assert recover(take.stop({})).messages == 1


def test_images_of_a_cut_take_are_recovered_too(tmp_path: Path) -> None:
    take = Take(tmp_path / "e", [topic("/cam", "sensor_msgs/msg/Image")], {}, Codec())
    take.start()
    for i in range(30):
        take.put("/cam", T0 + i, T0 + i, image(T0 + i, photo(i)))
    time.sleep(0.8)
    shutil.copytree(take.writer.path, tmp_path / "copy" / "e.partial")
    take.stop({})
    done = recover(tmp_path / "copy" / "e.partial")
    assert len(read_all(done.folder)["/cam/compressed"]) == 30
