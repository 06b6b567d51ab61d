"""Table surface: a procedural grain, so that no picture file has to be shipped."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def wood_grain(height: int, width: int, seed: int = 7) -> NDArray[np.uint8]:
    """Greyish planks uint8 [height, width, 3], mean near 230, multiplied by the table's tone."""
    rng = np.random.default_rng(seed)
    planks = 6
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    plank = np.minimum((y / height * planks).astype(int), planks - 1)
    tone = rng.uniform(-9.0, 9.0, planks)[plank]
    phase = rng.uniform(0.0, 100.0, planks)[plank]
    # Long waves along x bend fine rings across y: reads as grain, averages to nothing.
    bend = 2.5 * np.sin(x / width * 5.0 + phase) + 1.2 * np.sin(x / width * 13.0 + 2.0 * phase)
    rings = np.sin((y + 3.0 * bend) / height * 2 * np.pi * 26 + phase)
    fine = np.sin((y + bend) / height * 2 * np.pi * 91 + 3.0 * phase)
    streaks = rng.normal(0.0, 1.0, (height, 1)) + 0.4 * rng.normal(0.0, 1.0, (height, width))
    value = 232.0 + tone + 4.0 * rings + 2.0 * fine + 2.0 * streaks
    seam = (y * planks / height) % 1.0 * (height / planks) < 1.5
    value = np.where(seam, value - 45.0, value)
    warm = np.stack([value + 2.0, value, value - 4.0], axis=2)
    return np.clip(warm, 0, 255).astype(np.uint8)
