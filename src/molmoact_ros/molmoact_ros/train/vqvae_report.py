"""How good a depth VQ-VAE is on scenes it has never seen.

``python -m molmoact_ros.train.vqvae_report`` prints the numbers of the weights' card:
reconstruction error, use of the codebook, and the rank correlation (Spearman) between the
decoded picture and the depth that was rendered.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from molmoact_ros.model.depth_codec import PACKAGE_WEIGHTS, DepthCodec
from molmoact_ros.reasoning.depth_image import relative_depth_u8, vqvae_input
from molmoact_ros.train.depth_maps import depth_metres

HELD_OUT_SEED = 99

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class VqVaeReport:
    """Numbers over ``frames``. mse: of pictures in 0..1. perplexity: 2^entropy of the codes.

    spearman: decoded picture against 1/depth at the rendered resolution, a value a frame.
    blind_spearman_median: the same for one picture, the average of all frames. The room alone
    explains that much, so only what lies above it is the codes' merit.
    """

    frames: int
    mse: float
    codes_used: int
    perplexity: float
    spearman_median: float
    spearman_p5: float
    spearman_min: float
    blind_spearman_median: float


def spearman(decoded: NDArray[np.float32], metres: NDArray[np.float32]) -> float:
    """Rank correlation of a decoded picture [320, 320] with the inverse of depth [H, W]."""
    height, width = metres.shape
    picture = cv2.resize(decoded, (width, height), interpolation=cv2.INTER_AREA)
    # Every third pixel is plenty for a correlation and nine times faster to rank.
    return float(spearmanr(picture[::3, ::3].ravel(), -metres[::3, ::3].ravel()).statistic)


def report(codec: DepthCodec, frames: Iterable[NDArray[np.float32]]) -> VqVaeReport:
    """Measure ``codec`` on depth frames in metres. Raises ValueError without any frame."""
    errors, ranks, seen = [], [], []
    average = np.zeros((320, 320), dtype=np.float64)
    counts = np.zeros(codec.codes)
    for metres in frames:
        codes = codec.encode(metres)
        decoded = codec.decode(codes)
        wanted = vqvae_input(relative_depth_u8(metres, source="sensor"))[0, 0]
        errors.append(float(np.mean((decoded - wanted) ** 2)))
        ranks.append(spearman(decoded, metres))
        seen.append(metres)
        average += wanted
        counts += np.bincount(codes.ravel(), minlength=codec.codes)
    if not errors:
        raise ValueError("No depth frame to report on; ask for at least one.")
    blind = [spearman((average / len(seen)).astype(np.float32), metres) for metres in seen]
    share = counts[counts > 0] / counts.sum()
    return VqVaeReport(
        frames=len(errors),
        mse=float(np.mean(errors)),
        codes_used=int((counts > 0).sum()),
        perplexity=float(np.exp(-(share * np.log(share)).sum())),
        spearman_median=float(np.median(ranks)),
        spearman_p5=float(np.percentile(ranks, 5)),
        spearman_min=float(np.min(ranks)),
        blind_spearman_median=float(np.median(blind)),
    )


def main() -> None:
    """Print the report of the packaged or other weights as JSON."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--weights", type=Path, default=PACKAGE_WEIGHTS)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--seed", type=int, default=HELD_OUT_SEED)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    codec = DepthCodec.from_file(arguments.weights)
    result = report(codec, depth_metres(arguments.frames, arguments.seed))
    logger.info(json.dumps(asdict(result), indent=2))


if __name__ == "__main__":
    main()
