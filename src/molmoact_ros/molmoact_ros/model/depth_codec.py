"""Depth pictures to the 100 depth codes of a thought, and codes back to a picture.

One object for run time: it owns the VQ-VAE and runs the label pipeline of
``reasoning.depth_image`` in front of it, so that codes of a sensor's depth mean the same as
the codes a policy was trained on.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from molmoact_ros.model.codebook import PACKAGE_WEIGHTS, RELEASED, codebook_of
from molmoact_ros.model.depth_vqvae import DepthVqVae
from molmoact_ros.model.depth_weights import converted, load_depth_vqvae
from molmoact_ros.reasoning.depth_image import relative_depth_u8, vqvae_input

GRID = (10, 10)
_LOG = logging.getLogger(__name__)


class DepthCodec:
    """Encodes and decodes one frame at a time on the CPU; safe to share between threads."""

    def __init__(self, network: DepthVqVae, origin: Path, codebook: str = "") -> None:
        """codebook: see ``codebook.codebook_of``; empty for a network that is no file yet."""
        self._network = network.eval()
        self.origin, self._codebook = origin, codebook
        self._warned: set[str] = set()

    @staticmethod
    def from_package() -> DepthCodec:
        """With the weights of this package (card: model/weights/README.md)."""
        return DepthCodec.from_file(None)

    @staticmethod
    def from_file(path: Path | None) -> DepthCodec:
        """With other weights: the released ``vae-final.pt`` or a ``.safetensors``; None: ours.

        A .pt is converted to a safetensors file beside it the first time, and read from there
        ever after. Raises FileNotFoundError or ValueError as ``depth_weights.load_depth_vqvae``.
        """
        path = source = Path(path or PACKAGE_WEIGHTS)
        if source.suffix == ".pt":
            try:
                source = converted(source)
            except PermissionError:
                source = path  # a read-only folder: read it as it is, every time
        return DepthCodec(load_depth_vqvae(source), path, codebook_of(path))

    @property
    def codebook(self) -> str:
        """Digest of the file, see ``codebook.codebook_of``."""
        return self._codebook

    @property
    def codes(self) -> int:
        """Size of the codebook (128)."""
        return self._network.shape.codes

    def foreign(self, codebook: str) -> str:
        """Why codes of ``codebook`` mean nothing to these weights; empty: they fit, or are unnamed.

        codebook: as ``codebook_of`` says it, RELEASED, or empty. RELEASED names no file, so any
        but the package's is taken for it.
        """
        if codebook == RELEASED:
            if self.origin != PACKAGE_WEIGHTS:
                return ""
            whose = "of a checkpoint without a card, like the released ones (vae-final.pt)"
        elif codebook in ("", self.codebook):
            return ""
        else:
            whose = f"of codebook {codebook}"
        return (
            f"depth is not drawn: its codes are those {whose}, but the VQ-VAE at hand is "
            f"{self.origin.name} ({self.codebook}); give the file they were made with as depth "
            "weights"
        )

    def picture(
        self, codes: NDArray[np.integer] | None, codebook: str = ""
    ) -> NDArray[np.float32] | None:
        """As ``decode``; None without codes, for another grid and for ``foreign`` ones (a warning
        says why, once).
        """
        if codes is None or codes.shape != GRID:
            return None
        if reason := self.foreign(codebook):
            if codebook not in self._warned:
                _LOG.warning("%s", reason)
            self._warned.add(codebook)
            return None
        return self.decode(codes)

    def encode(self, depth_metres: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Codes uint8 [10, 10], row-major as the picture, of metres float32 [H, W].

        0 or NaN marks an unknown pixel. Raises ValueError for another shape or a frame
        without any valid pixel.
        """
        return self.encode_picture(relative_depth_u8(depth_metres, source="sensor"))

    def encode_picture(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Codes uint8 [10, 10] of a relative depth picture uint8 [H, W], near = bright."""
        with torch.inference_mode():
            codes = self._network.encode(torch.from_numpy(vqvae_input(picture)))
        return codes[0].numpy().astype(np.uint8)

    def decode(self, codes: NDArray[np.integer]) -> NDArray[np.float32]:
        """Picture float32 [320, 320] in 0..1, near = 1, of codes [10, 10].

        Clipped, not stretched: the encoder's input spans 0..1 in every frame. Raises
        ValueError for another grid or a code outside the codebook.
        """
        grid = np.asarray(codes)
        if grid.shape != GRID or not np.issubdtype(grid.dtype, np.integer):
            raise ValueError(
                f"Depth codes are {grid.dtype} {grid.shape}, expected whole numbers {GRID}; "
                "reshape the 100 depth tokens row by row."
            )
        if grid.min() < 0 or grid.max() >= self.codes:
            raise ValueError(
                f"Depth codes span {grid.min()}..{grid.max()}, expected 0..{self.codes - 1}; "
                "refuse this answer or use the weights its codes were made with."
            )
        with torch.inference_mode():
            picture = self._network.decode(torch.from_numpy(grid.astype(np.int64))[None])
        return np.clip(picture[0, 0].numpy(), 0.0, 1.0)
