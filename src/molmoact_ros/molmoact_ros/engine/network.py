"""The language model behind the decode loop: read a prompt, then decide rows, in fixed shapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch

from molmoact_ros.engine.heads import FullHead, Head
from molmoact_ros.engine.rows import Rows
from molmoact_ros.engine.settings import EngineSettings
from molmoact_ros.model.attention import mask_per_group
from molmoact_ros.model.cache import SlotCache
from molmoact_ros.model.molmoact import MolmoAct

_STEP = 128
"""On a CPU attention runs over the used slots, rounded up to a multiple of this."""


class Network(Protocol):
    """What the decode loop asks for. The real one is ``TorchNetwork``."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Row counts of a forward, ascending."""
        ...

    def prefill(self, prompt: Sequence[int], features: torch.Tensor | None, answer: int) -> None:
        """Read all of ``prompt`` but its last token; room for ``answer`` tokens is needed."""
        ...

    def decide(self, rows: Rows) -> list[int]:
        """The best next token behind every row."""
        ...


class TorchNetwork:
    """MolmoAct with fixed buffers; on CUDA a forward is one graph replay.

    Raises ValueError when prompt and answer do not fit into the context window.
    """

    def __init__(self, model: MolmoAct, settings: EngineSettings) -> None:
        self._model = model
        self._settings = settings
        self._cache: SlotCache | None = None
        self._steps: dict[tuple[int, int], tuple[int, _Step]] = {}
        self.head: Head = FullHead(model)
        """Decides the tokens; may be exchanged between answers."""

    @property
    def sizes(self) -> tuple[int, ...]:
        return self._settings.rows

    @torch.inference_mode()
    def prefill(self, prompt: Sequence[int], features: torch.Tensor | None, answer: int) -> None:
        model, bucket = self._model, self._settings.prefill_bucket
        limit = model.config.llm.max_position_embeddings
        if len(prompt) + answer > limit:
            raise ValueError(
                f"{len(prompt)} prompt tokens and {answer} of the answer exceed the {limit} "
                "this model can hold; use smaller pictures or a shorter answer"
            )
        read = len(prompt) - 1
        padded = -(-max(read, 1) // bucket) * bucket
        cache = self._room(max(padded, len(prompt) + answer + self.sizes[-1]))
        if features is not None or read:
            ids = torch.zeros(1, padded, dtype=torch.int64, device=model.device)
            ids[0, :read] = torch.tensor(list(prompt[:read]), dtype=torch.int64)
            embedded = model.embed(ids, features)
            cache.slots = torch.arange(padded, device=model.device)
            cache.visible = padded
            # What padding writes is never seen: later rows are written over it first.
            model.model.transformer(embedded, cache.slots[None], None, cache)

    @torch.inference_mode()
    def decide(self, rows: Rows) -> list[int]:
        count = len(rows.tokens)
        size = next(size for size in self.sizes if size >= count)
        if self._cache is None:
            raise RuntimeError("decide was called before prefill")
        indices, key = self.head.indices(rows.states), (size, id(self.head))
        if key not in self._steps or self._steps[key][0] != self.head.version:
            step = _Step(self._model, self.head, self._cache, size, self._settings)
            self._steps[key] = self.head.version, step
        return self._steps[key][1](rows, indices)[:count]

    def _room(self, slots: int) -> SlotCache:
        if self._cache is None or self._cache.capacity < slots:
            # Rounded, so that prompts of slightly different length do not record graphs again.
            capacity = -(-slots // 256) * 256
            self._steps.clear()
            self._cache = None
            model = self._model
            self._cache = SlotCache(model.config.llm, capacity, model.device, model.dtype)
        return self._cache


class _Step:
    """One forward with ``size`` rows. Inputs live in one buffer that is filled by one copy."""

    def __init__(
        self, model: MolmoAct, head: Head, cache: SlotCache, size: int, settings: EngineSettings
    ) -> None:
        self._model, self._head, self._cache, self._size = model, head, cache, size
        self._on_cuda = on_cuda = model.device.type == "cuda"
        cache.visible = cache.capacity
        count = 3 * size + 1 + size * size
        self._host = torch.zeros(count, dtype=torch.int64, pin_memory=on_cuda)
        self._device = torch.zeros(count, dtype=torch.int64, device=model.device)
        # Recording runs the forward: it must write where no token of the sequence stands.
        self._device[3 * size] = cache.capacity - size
        forward: Callable[[], torch.Tensor] = self._forward
        if settings.fused and on_cuda:
            forward = torch.compile(self._forward, dynamic=False)
        self._run = _recorded(forward) if on_cuda and settings.graphs else forward

    def __call__(self, rows: Rows, indices: list[int]) -> list[int]:
        size, count = self._size, len(rows.tokens)
        packed = self._host.numpy()
        packed[: 3 * size].reshape(3, size)[:, :count] = (rows.tokens, rows.positions, indices)
        packed[: 3 * size].reshape(3, size)[:, count:] = 0
        packed[3 * size] = rows.start
        sees = packed[3 * size + 1 :].reshape(size, size)
        sees[:] = np.eye(size, dtype=np.int64)
        sees[:count, :count] = rows.sees
        if not self._on_cuda:
            used = -(-(rows.start + size) // _STEP) * _STEP
            self._cache.visible = min(self._cache.capacity, used)
        self._device.copy_(self._host, non_blocking=True)
        best: list[int] = self._run().tolist()
        return best

    def _forward(self) -> torch.Tensor:
        size, cache, model = self._size, self._cache, self._model
        tokens, positions, indices = self._device[: 3 * size].view(3, size)
        start = self._device[3 * size]
        sees = self._device[3 * size + 1 :].view(size, size).bool()
        places = torch.arange(cache.visible, device=self._device.device)
        offset = places - start
        fresh = (offset >= 0) & (offset < size)
        mask = (offset < 0) | (fresh & sees[:, offset.clamp(0, size - 1)])
        scores = torch.zeros(mask.shape, dtype=model.dtype, device=mask.device)
        scores.masked_fill_(~mask, float("-inf"))
        llm = model.config.llm
        groups = llm.num_attention_heads // llm.num_key_value_heads
        cache.slots = start + torch.arange(size, device=places.device)
        embedded = model.model.transformer.wte(tokens[None])
        hidden = model.model.transformer(
            embedded, positions[None], mask_per_group(scores[None, None], groups), cache
        )
        return self._head.best(hidden[0], indices, positions)


def _recorded(forward: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor]:
    """Record ``forward`` as a CUDA graph; calling the result replays it into the same tensors."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):  # libraries allocate and choose kernels in their first calls
            forward()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = forward()

    def replay() -> torch.Tensor:
        graph.replay()
        return result

    return replay
