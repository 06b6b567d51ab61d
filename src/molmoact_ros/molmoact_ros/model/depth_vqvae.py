"""The depth VQ-VAE: a 320x320 depth picture to a 10x10 grid of 128 codes, and back.

Topology and parameter names follow the released MolmoAct depth VQ-VAE (paper arXiv
2508.07917, section on depth perception tokens), so that its ``vae-final.pt`` loads here:
five stride-2 convolutions, two residual blocks, a codebook kept by moving averages (van den
Oord et al. 2017), and the mirror image. The input is relative inverse depth in 0..1,
near = 1, made by ``reasoning.depth_image``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

_STAGES = 5


@dataclass(frozen=True)
class VqVaeShape:
    """Sizes of the network: first width (doubled at every stage), codes, code length."""

    width: int = 16
    codes: int = 128
    code_size: int = 512

    @property
    def hidden(self) -> int:
        """Channels at the 10x10 grid."""
        return self.width * 2 ** (_STAGES - 1)

    @staticmethod
    def from_state(state: Mapping[str, Tensor]) -> VqVaeShape:
        """Read the sizes off a state dict. Raises ValueError when it is not this network."""
        try:
            codes, code_size = state["_vq_vae._embedding"].shape
            width = state["encoder.0.weight"].shape[0]
        except (KeyError, ValueError) as error:
            raise ValueError(
                f"These weights lack the depth VQ-VAE's tensors ({error}); found "
                f"{sorted(state)[:4]}... Use vae-final.pt or a file made by molmoact vqvae train."
            ) from error
        return VqVaeShape(width=int(width), codes=int(codes), code_size=int(code_size))


class DepthVqVae(nn.Module):
    """Encoder, codebook and decoder. Pictures are float [B, 1, 320, 320], codes [B, 10, 10]."""

    def __init__(self, shape: VqVaeShape | None = None) -> None:
        super().__init__()
        self.shape = shape or VqVaeShape()
        widths = [self.shape.width * 2**i for i in range(_STAGES)]
        hidden = self.shape.hidden
        encoder: list[nn.Module] = []
        for before, after in zip([1, *widths[:-1]], widths, strict=True):
            encoder += [nn.Conv2d(before, after, 4, 2, 1), nn.ReLU()]
        encoder += [_Residual(hidden), _Residual(hidden)]
        self.encoder = nn.Sequential(*encoder, nn.Conv2d(hidden, self.shape.code_size, 1))
        self._vq_vae = Codebook(self.shape.codes, self.shape.code_size)
        decoder: list[nn.Module] = [nn.Conv2d(self.shape.code_size, hidden, 1), nn.ReLU()]
        decoder += [_Residual(hidden), _Residual(hidden)]
        for before, after in zip([hidden, *widths[:0:-1]], widths[::-1], strict=True):
            decoder += [nn.ConvTranspose2d(before, after, 4, 2, 1), nn.ReLU()]
        self.decoder = nn.Sequential(*decoder, nn.Conv2d(widths[0], 1, 1))

    @property
    def codebook(self) -> Codebook:
        return self._vq_vae

    def latents(self, pictures: Tensor) -> Tensor:
        """Encoder output [B, code_size, 10, 10] before quantisation."""
        return self.encoder(pictures)  # type: ignore[no-any-return]

    def encode(self, pictures: Tensor) -> Tensor:
        """Codes int64 [B, 10, 10] of pictures float [B, 1, 320, 320] in 0..1."""
        return self._vq_vae.nearest(self.latents(pictures))

    def decode(self, codes: Tensor) -> Tensor:
        """Pictures float [B, 1, 320, 320] of codes [B, 10, 10]; roughly 0..1, not clipped."""
        return self.decoder(self._vq_vae.lookup(codes))  # type: ignore[no-any-return]


class Codebook(nn.Module):
    """Code vectors [codes, code_size] with the two moving averages that training keeps."""

    _embedding: Tensor
    _ema_cluster_size: Tensor
    _ema_w: Tensor

    def __init__(self, codes: int, code_size: int) -> None:
        super().__init__()
        vectors = torch.randn(codes, code_size) / code_size**0.5
        self.register_buffer("_embedding", vectors)
        self.register_buffer("_ema_cluster_size", torch.zeros(codes))
        self.register_buffer("_ema_w", vectors.clone())

    @property
    def vectors(self) -> Tensor:
        return self._embedding

    def nearest(self, latents: Tensor) -> Tensor:
        """Index int64 [B, H, W] of the nearest vector for latents [B, code_size, H, W]."""
        flat = latents.permute(0, 2, 3, 1).reshape(-1, latents.shape[1])
        distance = (
            (flat**2).sum(1, keepdim=True)
            + (self._embedding**2).sum(1)
            - 2.0 * flat @ self._embedding.t()
        )
        batch, _, rows, cols = latents.shape
        return distance.argmin(1).view(batch, rows, cols)

    def lookup(self, codes: Tensor) -> Tensor:
        """Vectors [B, code_size, H, W] of codes [B, H, W]."""
        return self._embedding[codes].permute(0, 3, 1, 2)


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(width, width, 3, 1, 1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, 1, 1),
            nn.ReLU(),
            nn.Conv2d(width, width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.net(x)  # type: ignore[no-any-return]
