"""The network as one module that turns a batch into sums of losses, so that wrappers for many
processes have one forward to hold on to. Logits are made for learned positions only: a whole
table for a vocabulary of 152,000 would be three times as large.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn import functional

from molmoact_ros.model.molmoact import MolmoAct
from molmoact_ros.train.aims import Aims
from molmoact_ros.train.batches import Batch
from molmoact_ros.train.packed_attention import fits, packed_hidden
from molmoact_ros.train.sight import Sight
from molmoact_ros.train.targets import BinTargets

Found = TypeVar("Found")


class Learner(nn.Module):
    """``forward`` returns sums over learned tokens; divide by the global count of them."""

    def __init__(
        self,
        network: MolmoAct,
        z_loss: float = 0.0,
        prompt_dropout: float = 0.0,
        bins: BinTargets | None = None,
        sight: float = 0.0,
        aim: float = 0.0,
    ) -> None:
        super().__init__()
        self.network = network
        self._z_loss = z_loss
        self._sight_weight = sight
        self.hidden_of_packs = packed_hidden
        """May be replaced by a compiled one."""
        self.sight: Sight | None = None
        self.side_losses: dict[str, float] = {}
        self._aim_weight = aim
        self.aims = Aims(network.config.llm.hidden_size) if aim > 0.0 else None
        if sight > 0.0:
            grid = -(-network.config.vit.grid[0] // 2)
            self.sight = Sight(network.config.llm.hidden_size, grid, 2 * grid * grid)
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

    def forward(self, batch: Batch, only_sight: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """(loss sum to be trained on, plain cross-entropy sum), both float32 scalars.

        only_sight: the pictures alone are learned to be read; the second sum is 0.
        """
        self.side_losses = {}
        features = self.network.encode_images(batch.crops, batch.pooled)
        seen = self._seen(batch, features)
        if only_sight:
            return seen, torch.zeros((), device=seen.device)
        logits, targets, aimed = self._answers(batch, features)
        chances = torch.log_softmax(logits, dim=-1)
        entropy = -chances.gather(-1, targets[:, None])[:, 0]
        trained = entropy
        if self._bin_of is not None:
            trained = self._softened(chances, targets, entropy)
        if self._z_loss > 0.0:
            tops = logits[:, 0] - chances[:, 0]
            trained = trained + self._z_loss * tops.square()
        return trained.sum() + seen + aimed, entropy.sum().detach()

    def whole(self, work: Callable[[], Found]) -> Found:
        """What ``work`` returns. A sharded network gathers its parts as in ``forward`` while it
        works, so it may use the network's own methods.
        """
        return work()

    def logits(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits float32 [learned, vocab] and their targets [learned], in reading order."""
        features = self.network.encode_images(batch.crops, batch.pooled)
        return self._answers(batch, features)[:2]

    def _answers(
        self, batch: Batch, features: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        network = self.network
        # Kept until the next batch: recomputed blocks run again in backward.
        self._prompt = batch.prompt
        rows = network.embed(batch.ids, features)
        chosen, aimed = batch.targets >= 0, features.sum() * 0.0
        model = network.model.transformer
        if batch.segments is None or batch.positions is None:
            hidden = network.hidden(rows)
        elif fits(model):
            hidden, *below = self.hidden_of_packs(model, rows, batch.positions, batch.slots)
            aimed = aimed + self._aimed(batch, [x[:, :-1][chosen] for x in below], chosen)
        else:
            hidden = model(rows, batch.positions, segment_mask(batch.segments))
        logits = network.logits(hidden[:, :-1][chosen]).float()
        return logits, batch.targets[chosen], aimed

    def _aimed(
        self, batch: Batch, below: Sequence[torch.Tensor], chosen: torch.Tensor
    ) -> torch.Tensor | float:
        """The loss of knowing what the question is about, as a sum over learned tokens."""
        if self.aims is None or batch.aims is None or batch.segments is None:
            return 0.0
        pack, _ = torch.nonzero(chosen, as_tuple=True)
        wanted = batch.aims[pack, batch.segments[:, :-1][chosen] - 1]
        where, names = self.aims(*below, wanted)
        self.side_losses |= {"aim": float(where.detach()), "aim_names": float(names.detach())}
        return self._aim_weight * batch.learned * (where + 0.5 * names)

    def _seen(self, batch: Batch, features: torch.Tensor) -> torch.Tensor:
        """The loss of finding things, as a sum over learned tokens like the other losses."""
        if self.sight is None or batch.landmarks is None:
            return features.sum() * 0.0
        losses = self.sight(features, batch.landmarks)
        self.side_losses |= {f"sight_{k}": float(v.detach()) for k, v in losses.items()}
        total = losses["place"] + 10.0 * losses["inside"] + losses["turn"] + 0.1 * losses["size"]
        return self._sight_weight * batch.learned * total

    def _softened(
        self, chances: torch.Tensor, targets: torch.Tensor, entropy: torch.Tensor
    ) -> torch.Tensor:
        assert self._bin_of is not None and self._bin_ids is not None
        assert self._bin_weights is not None
        device = chances.device
        bins = self._bin_of.to(device)[targets]
        rows = torch.nonzero(bins >= 0)[:, 0]
        found = chances[rows][:, self._bin_ids.to(device)]
        soft = -(self._bin_weights.to(device)[bins[rows]] * found).sum(-1)
        return entropy.index_copy(0, rows, soft)

    def _drop(self, _module: nn.Module, _inputs: Any, out: torch.Tensor) -> torch.Tensor:
        if self._prompt is None or not self.training or out.shape[1] != self._prompt.shape[1]:
            return out
        dropped = functional.dropout(out, self._dropout, training=True)
        return torch.where(self._prompt[..., None], dropped, out)


def segment_mask(segments: torch.Tensor) -> torch.Tensor:
    """Boolean [B, 1, S, S] of segments [B, S]: causal, own segment and segment 0 only."""
    length = segments.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=segments.device).tril()
    keys = segments[:, None, :]
    return (causal & ((keys == 0) | (keys == segments[:, :, None])))[:, None]


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
