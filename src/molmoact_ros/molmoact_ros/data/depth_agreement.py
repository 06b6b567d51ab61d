"""Do the depth camera and the estimator say the same codes in this set-up? (spec section 8)

Released weights were trained on an estimator's depth. Codes of a depth camera mean the same to
them only where both agree, so labelling with their code book asks for this comparison first.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.data.bag_source import BagTopics, read_bag
from molmoact_ros.data.card import DataCard
from molmoact_ros.data.depth_labels import Agreement, DepthLabeller, agreement
from molmoact_ros.data.pictures import rgb_of
from molmoact_ros.data.recording import Picture
from molmoact_ros.data.rows import BadData
from molmoact_ros.data.ticks import depth_at
from molmoact_ros.policy.view import resized

FILE = "depth_agreement.json"
ENOUGH = 200


@dataclass(frozen=True)
class Comparison(Agreement):
    """codebook: digest of the VQ-VAE. wanted: frames asked for. bags: that gave some."""

    codebook: str
    wanted: int
    bags: int

    @property
    def words(self) -> str:
        few = f", fewer than the {self.wanted} asked for" if self.frames < self.wanted else ""
        return (
            f"depth camera and estimator: {100 * self.equal_codes:.1f} % equal codes (60 wanted) "
            f"or mean cosine {self.cosine:.3f} (0.9 wanted) on {self.frames} frames of "
            f"{self.bags} bags{few}: {'agree' if self.accepted else 'do not agree'}"
        )

    def save(self, folder: Path) -> None:
        text = json.dumps({**asdict(self), "accepted": self.accepted}, indent=1)
        (folder / FILE).write_text(text + "\n", encoding="utf-8")


def load_comparison(folder: Path) -> Comparison | None:
    """What was measured for a data set, None when nothing was. Raises BadData."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        del found["accepted"]
        return Comparison(**found)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadData(f"{path}: {error}; delete it and compare again") from error


def compare(
    bags: Sequence[Path], topics: BagTopics, card: DataCard, labeller: DepthLabeller, wanted: int
) -> Comparison:
    """``wanted`` frames spread over ``bags``, coded from both sources as labelling codes them.

    Raises BadData when no bag has pictures with depth.
    """
    sensor: list[NDArray[np.uint8]] = []
    estimated: list[NDArray[np.uint8]] = []
    chosen_bags = bags[:: max(1, len(bags) // wanted)]
    share = -(-wanted // max(1, len(chosen_bags)))
    for bag in chosen_bags:
        try:
            frames = _frames(bag, topics, card, share)
            colour = [resized(rgb_of(picture), card.image_size) for picture, _ in frames]
            codes = labeller.from_sensor([depth for _, depth in frames])
        except Exception:  # noqa: BLE001 - labelling names the bag and says what is wrong with it
            continue
        sensor.append(codes)
        estimated.append(labeller.from_pictures(colour))
    if not sensor:
        raise BadData(
            f"--depth-agreement: none of {len(bags)} bags has pictures of {card.cameras[0]!r} with "
            f"depth on {topics.depth}; record both, or map topics"
        )
    found = agreement(np.concatenate(sensor), np.concatenate(estimated), labeller.vectors)
    return Comparison(**asdict(found), codebook=labeller.codebook, wanted=wanted, bags=len(sensor))


def _frames(
    bag: Path, topics: BagTopics, card: DataCard, count: int
) -> list[tuple[Picture, Picture]]:
    """At most ``count`` pictures of the first camera with their depth, evenly over the bag."""
    recording = read_bag(bag, topics, "compare depth")
    stream = recording.pictures[card.cameras[0]]
    depth = depth_at(recording.depth, stream.stamps)
    both = [(p, d) for p, d in zip(stream.values, depth, strict=True) if d is not None]
    places = np.linspace(0, len(both) - 1, min(count, len(both))).round().astype(int)
    return [both[i] for i in places]
