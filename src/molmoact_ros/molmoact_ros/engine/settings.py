"""How answers are decoded: with which promises, and how many rows a forward has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Mode = Literal["plain", "constrained", "strict"]
"""plain: the best token of the whole vocabulary, one a forward (the reference).
constrained: the best token the grammar allows; cannot write what the parser refuses.
strict: the tokens of plain, whatever the model writes, in fewer forwards."""

MODES: tuple[Mode, ...] = ("plain", "constrained", "strict")


@dataclass(frozen=True)
class EngineSettings:
    """Numbers of the decode loop; ``settings_for`` knows good ones.

    rows: sizes a forward may have, ascending; a forward is padded to the next. With ONE size the
    bits of a token cannot depend on what was guessed beside it. drafts: guess ahead at all.
    least_probability: guesses less likely than this are not worth a row. prefill_bucket: prompts
    are padded to a multiple of so many tokens. graphs: record a forward once and replay it (CUDA
    only). fused: compile the forward with Inductor before (CUDA only; other bits than without).
    """

    mode: Mode = "constrained"
    rows: tuple[int, ...] = (64,)
    drafts: bool = True
    least_probability: float = 0.0
    prefill_bucket: int = 64
    max_new_tokens: int = 640
    graphs: bool = True
    fused: bool = False

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"engine mode is {self.mode!r}; choose one of {', '.join(MODES)}")
        if not self.rows or list(self.rows) != sorted(set(self.rows)) or self.rows[0] < 1:
            raise ValueError(f"rows is {self.rows}; give ascending sizes of at least 1, e.g. (64,)")
        if min(self.prefill_bucket - 1, self.max_new_tokens) < 1:
            raise ValueError(
                f"prefill_bucket is {self.prefill_bucket} and max_new_tokens "
                f"{self.max_new_tokens}; use at least 2 and 1"
            )
        if not 0 <= self.least_probability <= 1:
            raise ValueError(f"least_probability is {self.least_probability}; use 0 to 1")


_GPU_ROWS = (("H100", 64), ("H200", 64), ("GH200", 64), ("A100", 64), ("4090", 32), ("5090", 32))
"""Rows that cost nothing beside the weights' transfer: rows < peak FLOP/s * bytes a weight /
(2 * bandwidth), with a margin (about 295, 205 and 165 for H100, H200 and RTX 4090 in bf16)."""


def settings_for(device_name: str, mode: Mode = "constrained") -> EngineSettings:
    """Settings for a device: "cpu", or the name CUDA gives it ("NVIDIA H100 80GB HBM3").

    A CPU pays for every row, so it takes the smallest size that holds the likely guesses; a GPU
    waits for its memory anyway and always runs one full size.
    """
    if device_name == "cpu":
        return EngineSettings(mode, rows=(1, 4, 8, 16, 32), least_probability=0.15)
    rows = next((rows for name, rows in _GPU_ROWS if name in device_name), 32)
    return EngineSettings(mode, rows=(rows,))
