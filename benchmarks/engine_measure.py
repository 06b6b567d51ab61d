"""What both engine benchmarks measure: thoughts about a scripted scene, checked while they run."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from engine_scene import Scene

from molmoact_ros.engine.engine import Engine
from molmoact_ros.engine.grammar import AnswerGrammar
from molmoact_ros.engine.heads import ScriptedTokens
from molmoact_ros.engine.memory import DraftMemory
from molmoact_ros.model.molmoact import MolmoAct
from molmoact_ros.model.tokenizer import MolmoActTokenizer

SEGMENTS = ("prefill", "depth", "trace", "actions")


@dataclass(frozen=True)
class Roofline:
    """Bytes a forward must read and the memory that delivers them.

    t_token: seconds a forward takes at full bandwidth.
    """

    bytes_read: float
    bandwidth: float

    @property
    def t_token(self) -> float:
        return self.bytes_read / self.bandwidth


def roofline(model: MolmoAct, bandwidth: float, restricted: bool, context: int) -> Roofline:
    """Blocks, output matrix (unless only legal rows are read) and keys and values of ``context``
    tokens.
    """
    blocks = sum(p.numel() * p.element_size() for p in model.model.transformer.blocks.parameters())
    head = 0 if restricted else model.lm_head.weight.numel() * model.lm_head.weight.element_size()
    llm = model.config.llm
    size = model.lm_head.weight.element_size()
    past = llm.num_hidden_layers * 2 * llm.num_key_value_heads * llm.head_dim * size * context
    return Roofline(blocks + head + past, bandwidth)


def percentiles(values: list[float]) -> dict[str, float]:
    """Milliseconds."""
    milli = np.array(values) * 1e3
    names = {"p50": 50, "p95": 95, "p99": 99, "max": 100}
    found = {name: float(np.percentile(milli, share)) for name, share in names.items()}
    return found | {"mean": float(milli.mean())}


@dataclass
class Bench:
    """One engine and one grammar; ``wanted`` scripts what it writes."""

    engine: Engine
    tokenizer: MolmoActTokenizer
    grammar: AnswerGrammar | None
    device: torch.device
    prompt: list[int]
    features: torch.Tensor | None

    def __post_init__(self) -> None:
        self._wanted = torch.zeros(4096, dtype=torch.int64, device=self.device)
        self._script = ScriptedTokens(self._wanted)

    def script(self, text: str) -> tuple[int, ...]:
        """Make ``text`` the next answer; returns its tokens."""
        ids = self.tokenizer.encode(text)
        wanted = torch.full((4096,), self.tokenizer.ids.eos, dtype=torch.int64)
        first = len(self.prompt) - 1
        wanted[first : first + len(ids)] = torch.tensor(ids)
        self._wanted.copy_(wanted)
        return tuple(ids)

    def thoughts(self, hits: float, steps: int, warm: int = 3, seed: int = 1) -> dict[str, Any]:
        """Statistics of ``steps`` thoughts after ``warm`` that do not count."""
        scene, memory = Scene(hits, seed), DraftMemory()
        walls: list[float] = []
        parts: dict[str, list[float]] = {name: [] for name in SEGMENTS}
        forwards: list[int] = []
        tokens: list[int] = []
        first_row: list[float] = []
        for step in range(warm + steps):
            ids = self.script(scene.text())
            rows: list[float] = []
            started = time.perf_counter()

            def note(part: Any, rows: list[float] = rows) -> None:
                if part.kind == "row":
                    rows.append(time.perf_counter())

            answer = self.engine.answer(
                self.prompt, self.features, self.grammar, memory=memory, on_part=note,
                bias=self._script,
            )  # fmt: skip
            wall = time.perf_counter() - started
            if answer.ids != ids:
                raise SystemExit(f"step {step}: the engine wrote {answer.ids}, not {ids}")
            if step >= warm:
                walls.append(wall)
                forwards.append(answer.forwards)
                tokens.append(len(ids) + 1)
                first_row.append(rows[0] - started)
                for name in SEGMENTS:
                    parts[name].append(answer.timings.get(name, 0.0))
            scene.step()
        return {
            "hits": hits,
            "steps": steps,
            "tokens": float(np.mean(tokens)),
            "forwards": float(np.mean(forwards)),
            "forwards_max": max(forwards),
            "thought_ms": percentiles(walls),
            "first_row_ms": percentiles(first_row),
            "segments_ms": {name: percentiles(values) for name, values in parts.items()},
            "jitter": float(np.percentile(walls, 99) / np.percentile(walls, 50)),
            "equal": True,
        }


def table(results: list[dict[str, Any]], plain: dict[str, Any], roof: Roofline) -> str:
    """One line a hit rate. R = measured / roofline of its own forwards (prefill apart);
    A = measured / roofline of one forward a token.
    """
    lines = [
        "mode         hits  tokens forwards  p50 ms  p95 ms  p99 ms  depth  trace actions"
        "  vs plain     R      A"
    ]
    for result in [plain, *results]:
        wall = result["thought_ms"]
        decode = wall["p50"] - result["segments_ms"]["prefill"]["p50"]
        own = (result["forwards"] - 1) * roof.t_token * 1e3
        result["ratio_to_plain"] = plain["thought_ms"]["p50"] / wall["p50"]
        result["R"] = decode / own
        result["A"] = wall["p50"] / (result["tokens"] * roof.t_token * 1e3)
        parts = [result["segments_ms"][name]["p50"] for name in ("depth", "trace", "actions")]
        lines.append(
            f"{result['mode']:12s} {result['hits']:4.2f} {result['tokens']:7.0f}"
            f" {result['forwards']:8.1f} {wall['p50']:7.1f} {wall['p95']:7.1f} {wall['p99']:7.1f}"
            f" {parts[0]:6.1f} {parts[1]:6.1f} {parts[2]:7.1f} {result['ratio_to_plain']:8.1f}x"
            f" {result['R']:6.2f} {result['A']:6.3f}"
        )
    return "\n".join(lines)
