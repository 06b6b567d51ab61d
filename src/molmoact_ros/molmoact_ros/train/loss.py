"""The network as one module that turns a batch into sums of losses, so that wrappers for many
processes have one forward to hold on to. Logits are made for learned positions only: a whole
table for a vocabulary of 152,000 would be three times as large.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from molmoact_ros.model.molmoact import MolmoAct
from molmoact_ros.train.batches import Batch


@dataclass(frozen=True, eq=False)
class BinTargets:
    """Token ids [256] of the action bins in order, and targets softened over neighbours.

    A wrong bin next to the right one is a millimetre, far away it is a collision; the ordinary
    loss calls both equally wrong.
    """

    ids: torch.Tensor
    weights: torch.Tensor

    @staticmethod
    def make(ids: Sequence[int], sigma: float) -> BinTargets:
        """weights [256, 256]: a row for every bin, normal with ``sigma`` bins, adding up to 1."""
        place = torch.arange(len(ids), dtype=torch.float32)
        weights = torch.exp(-0.5 * ((place[:, None] - place[None]) / sigma) ** 2)
        return BinTargets(torch.tensor(list(ids)), weights / weights.sum(1, keepdim=True))


class Learner(nn.Module):
    """``forward`` returns sums over learned tokens; divide by the global count of them."""

    def __init__(
        self,
        network: MolmoAct,
        z_loss: float = 0.0,
        prompt_dropout: float = 0.0,
        bins: BinTargets | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self._z_loss = z_loss
        self._dropout = prompt_dropout
        self._prompt: torch.Tensor | None = None
        self._bin_weights: torch.Tensor | None = None
        self._bin_of: torch.Tensor | None = None
        self._bin_ids: torch.Tensor | None = None
        if bins is not None:
            of = torch.full((network.config.llm.vocab_size,), -1, dtype=torch.long)
            of[bins.ids] = torch.arange(len(bins.ids))
            self._bin_of, self._bin_ids, self._bin_weights = of, bins.ids, bins.weights
        if prompt_dropout > 0.0:
            for block in network.model.transformer.blocks:
                for branch in (block.get_submodule("self_attn"), block.get_submodule("mlp")):
                    branch.register_forward_hook(self._drop)

    def forward(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """(loss sum to be trained on, plain cross-entropy sum), both float32 scalars."""
        logits, targets = self.logits(batch)
        tops = torch.logsumexp(logits, dim=-1)
        entropy = tops - logits.gather(-1, targets[:, None])[:, 0]
        trained = entropy
        if self._bin_of is not None:
            trained = self._softened(logits, tops, targets, entropy)
        trained = trained + self._z_loss * tops.square()
        return trained.sum(), entropy.sum().detach()

    def logits(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits float32 [learned, vocab] and their targets [learned], in reading order."""
        network = self.network
        # Kept until the next batch: recomputed blocks run again in backward.
        self._prompt = batch.prompt
        features = network.encode_images(batch.crops, batch.pooled)
        hidden = network.hidden(network.embed(batch.ids, features))[:, :-1]
        chosen = batch.targets >= 0
        return network.logits(hidden[chosen]).float(), batch.targets[chosen]

    def _softened(
        self,
        logits: torch.Tensor,
        tops: torch.Tensor,
        targets: torch.Tensor,
        entropy: torch.Tensor,
    ) -> torch.Tensor:
        assert self._bin_of is not None and self._bin_ids is not None
        assert self._bin_weights is not None
        device = logits.device
        bins = self._bin_of.to(device)[targets]
        rows = torch.nonzero(bins >= 0)[:, 0]
        found = logits[rows][:, self._bin_ids.to(device)] - tops[rows, None]
        soft = -(self._bin_weights.to(device)[bins[rows]] * found).sum(-1)
        return entropy.index_copy(0, rows, soft)

    def _drop(self, _module: nn.Module, _inputs: Any, out: torch.Tensor) -> torch.Tensor:
        if self._prompt is None or not self.training or out.shape[1] != self._prompt.shape[1]:
            return out
        dropped = functional.dropout(out, self._dropout, training=True)
        return torch.where(self._prompt[..., None], dropped, out)


def recompute_blocks(network: MolmoAct) -> None:
    """Keep only the inputs of blocks for backward; a third more work for a tenth of the memory."""
    from torch.utils.checkpoint import checkpoint

    def wrapped(forward: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **named: Any) -> Any:
            if not torch.is_grad_enabled():
                return forward(*arguments, **named)
            return checkpoint(forward, *arguments, use_reentrant=False, **named)

        return run

    vit = network.model.vision_backbone.image_vit.transformer.resblocks
    for block in [*network.model.transformer.blocks, *vit]:
        block.forward = wrapped(block.forward)
