"""Which VQ-VAE depth codes belong to: codes of another one decode into a picture of nothing."""

from __future__ import annotations

import hashlib
from pathlib import Path

PACKAGE_WEIGHTS = Path(__file__).parent / "weights" / "depth_vqvae.safetensors"
RELEASED = "released"
"""The codebook of a checkpoint without a card: Ai2's, whose VQ-VAE is vae-final.pt."""


def codebook_of(weights: Path = PACKAGE_WEIGHTS) -> str:
    """Digest of a VQ-VAE's file, by which cards name its codebook. Raises OSError."""
    return hashlib.sha256(weights.read_bytes()).hexdigest()[:16]
