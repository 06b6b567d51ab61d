"""Depth pictures of recorded bags, to train a depth VQ-VAE on what one's own camera sees.

``python -m molmoact_ros.train.bag_depth BAGS --out maps.npz`` and then
``python -m molmoact_ros.train.vqvae --data maps.npz --out run/``. The pictures go through the
label pipeline, so the network learns the very inputs it will get.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.data.bag_source import BagTopics, find_bags, read_bag
from molmoact_ros.data.pictures import metres_of
from molmoact_ros.data.recording import BadEpisode
from molmoact_ros.reasoning.depth_image import relative_depth_u8, vqvae_input
from molmoact_ros.train.depth_maps import save_pictures

logger = logging.getLogger(__name__)


def bag_pictures(
    bags: Sequence[Path], every: int = 5, topics: BagTopics | None = None
) -> Iterator[NDArray[np.uint8]]:
    """Every ``every``-th depth frame as uint8 [320, 320]; bags and frames without depth are
    skipped with a line in the log.
    """
    wanted = topics or BagTopics()
    for bag in bags:
        try:
            stream = read_bag(bag, wanted, instruction="depth").depth
            if stream is None:
                raise BadEpisode(f"no depth on {wanted.depth}")
            for frame in stream.values[::every]:
                grey = vqvae_input(relative_depth_u8(metres_of(frame), source="sensor"))
                yield np.round(grey[0, 0] * 255.0).astype(np.uint8)
        except (BadEpisode, ValueError) as error:
            logger.info("%s: left out (%s)", bag, error)


def main() -> None:
    """Write one npz of all pictures."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("bags", type=Path, nargs="+")
    parser.add_argument("--every", type=int, default=5, help="take every n-th frame")
    parser.add_argument("--out", type=Path, required=True)
    values = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    bags = [bag for root in values.bags for bag in find_bags(root)]
    pictures = list(bag_pictures(bags, values.every))
    if not pictures:
        raise SystemExit("no bag holds depth; record the aligned depth topic")
    save_pictures(values.out, np.stack(pictures))
    logger.info("%s: %d pictures", values.out, len(pictures))


if __name__ == "__main__":
    main()
