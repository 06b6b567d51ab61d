"""Depth maps on disk, and where they come from."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from molmoact_ros.cli import main
from molmoact_ros.data.bag_source import BagTopics, read_bag
from molmoact_ros.data.card import DataCard
from molmoact_ros.data.estimator import DepthAnything
from molmoact_ros.data.pictures import rgb_of
from molmoact_ros.data.rows import BadData
from molmoact_ros.model.depth_codec import DepthCodec
from molmoact_ros.policy.view import resized
from molmoact_ros.reasoning.depth_image import relative_depth_u8
from molmoact_ros.train.depth_maps import simulated_maps
from molmoact_ros.train.depth_shards import DepthMaps, map_of, open_folder, write_shard
from molmoact_ros.train.estimated_maps import estimated_maps
from molmoact_ros.train.map_sources import Making, maps_of, shards_of

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
sys.path.insert(0, str(Path(__file__).parent))
from bag_writing_helpers import write_bag
from data_helpers import CARD, make_data
from test_estimator import folder as depth_anything  # noqa: F401  a fixture
from vqvae_helpers import ramp_maps, ramps

TOPICS = BagTopics()


def test_maps_come_back_and_whole_shards_are_held_out(tmp_path: Path) -> None:
    folder = ramp_maps(tmp_path)
    everything = DepthMaps([folder])
    assert len(everything) == 28
    for number, wanted in enumerate(ramps(28)):
        np.testing.assert_array_equal(everything[number], wanted)
    train, away = DepthMaps([folder], "train"), DepthMaps([folder], "held_out")
    assert (len(train), len(away)) == (21, 7)
    seen = {train[i].tobytes() for i in range(21)}
    assert len(seen | {away[i].tobytes() for i in range(7)}) == len(
        {everything[i].tobytes() for i in range(28)}
    )
    assert everything.fingerprint != train.fingerprint


def test_a_single_recording_gives_up_its_end(tmp_path: Path) -> None:
    open_folder(tmp_path, {})
    write_shard(tmp_path, "only", ramps(9))
    train, away = DepthMaps([tmp_path], "train"), DepthMaps([tmp_path], "held_out")
    assert (len(train), len(away)) == (8, 1)
    np.testing.assert_array_equal(away[0], list(ramps(9))[-1])


def test_half_a_shard_is_none_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    open_folder(tmp_path, {"depth": "sensor"})

    def broken() -> object:
        yield from ramps(2)
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        write_shard(tmp_path, "a", broken())  # type: ignore[arg-type]
    with pytest.raises(BadData, match="no depth map"):
        DepthMaps([tmp_path])
    assert write_shard(tmp_path, "a", ramps(2)) == 2
    pack = tmp_path / "shards" / "a.pack"
    pack.write_bytes(pack.read_bytes()[:-9])
    assert DepthMaps([tmp_path])[0].shape == (320, 320)
    with pytest.raises(BadData, match="a.pack"):
        DepthMaps([tmp_path])[1]
    with pytest.raises(BadData, match="'sensor', now 'estimate'"):
        open_folder(tmp_path, {"depth": "estimate"})


def test_bags_become_maps_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bags, out = tmp_path / "bags", tmp_path / "maps"
    bags.mkdir()
    write_bag(bags, "one")
    (write_bag(bags, "two") / "two.mcap").unlink()
    command = ["vqvae", "maps", str(bags), "--out", str(out), "--every", "4"]
    assert main(command) == 0
    assert "6 maps, 6 of them new; 1 left out" in capsys.readouterr().err
    assert list(json.loads((out / "left_out.json").read_text())) == [str(bags / "two")]
    assert main(command) == 0
    assert "6 maps, 0 of them new" in capsys.readouterr().err
    assert main(["vqvae", "maps", str(bags), "--out", str(out), "--every", "2"]) == 2
    assert "every 4, now 2" in capsys.readouterr().err


def test_a_labelled_data_set_stands_for_its_bags_or_its_pictures(tmp_path: Path) -> None:
    class Reddest:
        def estimate_many(self, pictures: object) -> np.ndarray:
            return np.stack(pictures)[..., 0].astype(np.float32)  # type: ignore[call-overload]

    bags, data = tmp_path / "bags", tmp_path / "data"
    bags.mkdir()
    bag = write_bag(bags, "one")
    label = ["label", str(bags), "--out", str(data), "--set", "image_size=[64,48]"]
    assert main(label) == 0
    (shard,), problems = shards_of([data], colour=False)
    assert shard.path == bag and not problems
    assert len(list(maps_of(shard, Making(tmp_path, every=4)))) == 6
    (shard,), _ = shards_of([data], colour=True)
    making = Making(tmp_path, every=5, estimator=tmp_path / "net", size=CARD.image_size)
    found = list(maps_of(shard, making, Reddest()))
    (plain,), _ = shards_of([bags], colour=True)
    from_bag = list(maps_of(plain, making, Reddest()))
    assert plain.key == shard.key and len(from_bag) == 5
    # Labelling dropped idle ticks and compressed again; the first picture is the same one.
    assert np.abs(found[0].astype(int) - from_bag[0]).mean() < 12


def test_pictures_are_estimated_in_batches() -> None:
    class Counting:
        asked: list[int] = []

        def estimate_many(self, pictures: list[np.ndarray]) -> np.ndarray:
            self.asked.append(len(pictures))
            return np.stack([p[..., 0].astype(np.float32) for p in pictures])

    pictures = [np.full((48, 64, 3), 10, np.uint8) for _ in range(5)]
    for i, picture in enumerate(pictures):
        picture[:, 10 * i :] = 200
    found = list(estimated_maps(Counting(), iter(pictures), 2))
    assert Counting.asked == [2, 2, 1]
    wanted = [map_of(relative_depth_u8(p[..., 0].astype(np.float32), "relative")) for p in pictures]
    np.testing.assert_array_equal(found, wanted)


def test_depth_anything_makes_maps_of_colour_as_it_makes_labels(
    depth_anything: Path,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Three at once are what one at a time are."""
    bag, out = write_bag(tmp_path, "one"), tmp_path / "maps"
    command = ["vqvae", "maps", str(bag), "--out", str(out), "--every", "8", "--batch", "3"]
    assert main([*command, "--depth-estimator", str(depth_anything), "--device", "cpu"]) == 0
    found, alone = DepthMaps([out]), DepthAnything(depth_anything, "cpu")
    assert len(found) == 3
    for number, picture in enumerate(read_bag(bag, TOPICS).pictures["external"].values[::8]):
        rgb = resized(rgb_of(picture), DataCard().image_size)
        wanted = map_of(relative_depth_u8(alone.estimate(rgb), source="relative"))
        assert np.abs(found[number].astype(int) - wanted).max() <= 2
    assert "estimate by depth_anything" in (out / "maps.json").read_text()


def test_simulated_maps_repeat_and_are_what_the_codec_reads() -> None:
    """Held-out frames must not be training frames, and a card's numbers must repeat."""
    one = list(simulated_maps(2, seed=5))
    np.testing.assert_array_equal(one, list(simulated_maps(2, seed=5)))
    assert (one[0] != next(iter(simulated_maps(1, seed=6)))).any()
    assert one[0].shape == (320, 320) and one[0].min() == 0 and one[0].max() > 250
    assert len(np.unique(DepthCodec.from_package().encode_picture(one[0]))) > 20


def test_nothing_to_read_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    out = ["--out", str(tmp_path / "maps")]
    assert main(["vqvae", "maps", str(tmp_path / "empty"), *out]) == 2
    assert "neither bags nor a labelled data set" in capsys.readouterr().err
    assert main(["vqvae", "maps", *out]) == 2
    assert main(["vqvae", "maps", "x", *out, "--depth-estimator", str(tmp_path)]) == 2
    assert "config.json" in capsys.readouterr().err
    scattered = make_data(tmp_path / "data", episodes=1, count=8)
    assert main(["vqvae", "maps", str(scattered), "--out", str(tmp_path / "more")]) == 2
