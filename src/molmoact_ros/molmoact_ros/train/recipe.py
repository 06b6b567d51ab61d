"""The numbers of one training run. Presets are those of the paper (arXiv 2508.07917, tables and
appendices) and of its public launch settings; every one can be overridden on the command line.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from types import MappingProxyType
from typing import Any, get_type_hints


class BadRecipe(ValueError):
    """A number out of range or an unknown name; says what to write."""


@dataclass(frozen=True)
class Recipe:
    """steps: optimiser steps. batch: samples of a step over all processes; micro: of one forward.

    method: "lora" or "full". mode: how it spreads over processes, "replicate" or "shard".
    lr_*: of language model, connector and vision transformer; a cosine falls to final_share after
    warm_up steps. clip: gradient norm of each of the three groups. kinds: shares of reason
    (depth, trace, actions), steer (trace drawn, actions), act (actions), depth, trace, web.
    prompt_dropout: residual dropout on prompt tokens only. z_loss: weight of logsumexp^2.
    bin_sigma, trace_sigma: soft targets over neighbouring action bins and trace coordinates, 0 off
    (vocabularies with one token a bin and a number only; wide, or the rest that is a hundredth of
    all motions is likelier than any one bin of a motion that is not certain). bin_noise: bins by
    which the rows that were said are misread (with pack only). pack: questions about
    the same frame in one sequence (``packing``; data of ``molmoact scatter``); mismatch: share of
    its steering samples with words of another goal; cut: of those whose path ends at the thing it
    leads to (``strokes``; needs landmarks). whole: share of batches with whole answers; the
    others leave the depth out and end after ``rows`` rows. sight: weight of finding landmarks,
    sight_steps: so many steps learn nothing else. aim: weight of telling what the question is about
    half way up (``aims``; with pack only). crop: area of the random crop, 1 off. jitter:
    whether colours are varied. muon: above 0, the blocks' matrices are trained by Muon at so many
    times the rates (mode replicate), the rest by AdamW. compile: fuse the language model's steps
    (minutes at the start; a third less work a step for micro on a CPU).
    """

    steps: int = 10_000
    batch: int = 16
    micro: int = 4
    method: str = "lora"
    mode: str = "replicate"
    lr_llm: float = 5e-4
    lr_connector: float = 5e-4
    lr_vit: float = 5e-4
    warm_up: int = 200
    final_share: float = 0.1
    clip: float = 1.0
    weight_decay: float = 0.0
    rank: int = 32
    alpha: int = 16
    reason: float = 0.5
    steer: float = 0.5
    act: float = 0.0
    depth: float = 0.0
    trace: float = 0.0
    web: float = 0.0
    prompt_dropout: float = 0.1
    z_loss: float = 1e-4
    bin_sigma: float = 0.0
    trace_sigma: float = 0.0
    bin_noise: float = 0.0
    pack: int = 1
    whole: float = 1.0
    rows: int = 2
    mismatch: float = 0.5
    cut: float = 0.0
    sight: float = 0.0
    sight_steps: int = 0
    aim: float = 0.0
    crop: float = 0.9
    jitter: bool = True
    limit: int = 2304
    precision: str = "bf16"
    recompute: bool = True
    compile: bool = False
    muon: float = 0.0
    log_every: int = 20
    save_every: int = 2000
    keep: int = 2
    look_every: int = 1000
    look_samples: int = 64
    look_decoded: int = 16
    workers: int = 4
    seed: int = 6198
    data_seed: int = 50189

    def __post_init__(self) -> None:
        wrong = {
            "steps": self.steps < 1,
            "batch": self.batch < 1,
            "micro": not 1 <= self.micro <= self.batch,
            "method": self.method not in ("lora", "full"),
            "mode": self.mode not in ("replicate", "shard"),
            "precision": self.precision not in ("bf16", "float32"),
            "rank": self.rank < 1,
            "prompt_dropout": not 0.0 <= self.prompt_dropout < 1.0,
            "crop": not 0.25 <= self.crop <= 1.0,
            "final_share": not 0.0 <= self.final_share <= 1.0,
            "bin_sigma": not 0.0 <= self.bin_sigma <= 16.0,
            "trace_sigma": not 0.0 <= self.trace_sigma <= 16.0,
            "bin_noise": not 0.0 <= self.bin_noise <= 16.0,
            "mismatch": not 0.0 <= self.mismatch <= 1.0,
            "cut": not 0.0 <= self.cut <= 1.0,
            "whole": not 0.0 <= self.whole <= 1.0,
            "rows": self.rows < 1,
            "pack": not 1 <= self.pack <= 16,
            "sight": min(self.sight, self.aim) < 0.0,
            "sight_steps": self.sight_steps > 0 and self.sight == 0.0,
            "reason": min(self.shares.values()) < 0.0 or sum(self.shares.values()) <= 0.0,
            "muon": self.muon < 0.0 or (self.muon > 0.0 and self.mode != "replicate"),
            "limit": self.limit < 128,
            "keep": self.keep < 1,
        }
        for name, bad in wrong.items():
            if bad:
                raise BadRecipe(f"recipe: {name} is {getattr(self, name)!r}; see docs/training.md")

    @property
    def shares(self) -> dict[str, float]:
        """Kind of sample to weight; they need not add up to 1."""
        return {
            name: float(getattr(self, name))
            for name in ("reason", "steer", "act", "depth", "trace", "web")
        }

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1) + "\n"


_REAL = Recipe(steps=6_000, batch=64, save_every=2000)
_WHOLE = replace(_REAL, method="full", mode="shard", crop=1.0, jitter=False)

_MICRO = Recipe(
    batch=16, micro=8, method="full", mode="replicate", lr_llm=1e-3, lr_connector=5e-4,
    lr_vit=2e-4, warm_up=60, final_share=0.02, prompt_dropout=0.0, z_loss=0.0, bin_sigma=8.0,
    bin_noise=4.0, trace_sigma=2.0, crop=1.0, jitter=False, limit=2048, recompute=False, pack=3,
    sight=0.03, aim=2.0, whole=0.15, rows=4, reason=0.5, steer=0.5, mismatch=0.9, muon=4.0,
    save_every=200, look_every=0, look_samples=32, look_decoded=4, workers=0, weight_decay=0.01,
    compile=True,
)  # fmt: skip
_SIGHT = replace(
    _MICRO, steps=5_000, sight_steps=5_000, batch=32, micro=16, pack=1, aim=0.0, sight=1.0,
    reason=0.0, steer=0.0, act=1.0, lr_connector=1e-3, lr_vit=1e-3, warm_up=100, save_every=500,
    compile=False, muon=0.0,
)  # fmt: skip

PRESETS: Mapping[str, Recipe] = MappingProxyType(
    {
        "post-train": _REAL,
        "post-train-small": Recipe(),
        "multi-task": replace(_REAL, steps=44_000),
        "libero-spatial": replace(_REAL, steps=50_000, batch=128),
        "libero-object": replace(_REAL, steps=50_000, batch=128),
        "libero-goal": replace(_REAL, steps=40_000, batch=128),
        "libero-long": replace(_REAL, steps=80_000, batch=128),
        "mid-train": replace(
            _WHOLE,
            steps=50_000, batch=256, lr_llm=1e-5, lr_connector=5e-6, lr_vit=5e-6,
            save_every=10_000,
        ),
        "pre-train": replace(
            _WHOLE,
            steps=100_000, batch=512, lr_llm=2e-5, lr_connector=1e-5, lr_vit=1e-5,
            reason=0.4, steer=0.4, depth=0.075, trace=0.075, web=0.05,
            save_every=20_000,
        ),
        "nano": Recipe(
            steps=30_000, batch=256, micro=256, method="full", mode="replicate",
            lr_llm=1e-3, lr_connector=1e-3, lr_vit=1e-3, warm_up=500, final_share=0.02,
            prompt_dropout=0.0, bin_sigma=2.0, crop=1.0, limit=2048, recompute=False,
            reason=0.7, steer=0.3, save_every=1000, look_every=1000, weight_decay=0.01,
        ),
        "micro-sight": replace(_SIGHT, batch=256, micro=256, workers=14),
        "micro": replace(_MICRO, steps=15_000, batch=128, micro=128, whole=0.5, rows=8, workers=14),
        "micro-sight-cpu": _SIGHT,
        "micro-cpu": replace(_MICRO, steps=8_000),
        "nano-cpu": Recipe(
            steps=12_000, batch=16, micro=16, method="full", mode="replicate",
            lr_llm=1e-3, lr_connector=1e-3, lr_vit=1e-3, warm_up=200, final_share=0.02,
            prompt_dropout=0.0, bin_sigma=2.0, crop=1.0, limit=2048, recompute=False,
            precision="float32", reason=0.7, steer=0.3, save_every=200, look_every=500,
            look_samples=32, look_decoded=4, workers=0, weight_decay=0.01,
        ),
    }
)  # fmt: skip
"""Names for ``--preset``."""


def overrides(texts: Sequence[str]) -> dict[str, str]:
    """Of FIELD=VALUE. Raises BadRecipe."""
    for text in texts:
        if "=" not in text:
            raise BadRecipe(f"{text!r} is no override; write FIELD=VALUE, as in steps=500")
    return dict(text.split("=", 1) for text in texts)


def changed(recipe: Recipe, values: Mapping[str, str]) -> Recipe:
    """``recipe`` with fields set from text. Raises BadRecipe."""
    hints = get_type_hints(Recipe)
    known = {field.name for field in fields(Recipe)}
    found: dict[str, Any] = {}
    for name, text in values.items():
        if name not in known:
            raise BadRecipe(f"recipe: unknown field {name!r}; known: {', '.join(sorted(known))}")
        try:
            found[name] = _parsed(text, hints[name])
        except ValueError as error:
            raise BadRecipe(f"recipe: {name} is {text!r}, expected {hints[name].__name__}") from (
                error
            )
    return replace(recipe, **found)


def _parsed(text: str, kind: type) -> Any:
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(text)
        return text.lower() == "true"
    return kind(text)
