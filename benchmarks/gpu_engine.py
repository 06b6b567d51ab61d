"""The engine on one GPU: a real-size 7B-D with random weights, made on the GPU, no file needed.

    bash benchmarks/gpu_engine.sh        # at most 9 minutes; writes $OUT/gpu_engine_<device>.json

Which token wins is scripted (a random network writes nothing useful); all arithmetic is real.
Stages run in order of importance and each result is written at once, so that a run that is cut
off leaves what it had.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from engine_measure import Bench, percentiles, roofline, table
from engine_scene import qwen_tokenizer

from molmoact_ros.engine.answers import AnswerShape, answer_automaton
from molmoact_ros.engine.engine import Engine
from molmoact_ros.engine.grammar import AnswerGrammar, Vocabulary
from molmoact_ros.engine.memory import DraftMemory
from molmoact_ros.engine.settings import EngineSettings, settings_for
from molmoact_ros.model.config import AdapterConfig, LlmConfig, MolmoActConfig, VitConfig
from molmoact_ros.model.molmoact import MolmoAct

HITS = (0.8, 1.0, 0.9, 0.5, 0.0)
BANDWIDTH = {"H100": 3.35e12, "H200": 4.8e12, "A100": 2.04e12, "4090": 1.008e12}
GOALS = {"H100": (0.45, 0.20), "H200": (0.33, 0.15)}
PATCHES = 424
"""Image tokens of a picture that is not tiled."""


def released_7b_d() -> MolmoActConfig:
    """The published numbers of MolmoAct-7B-D."""
    vit = VitConfig(
        1152, 4304, 27, 16, 72, "gelu_pytorch_tanh", 1e-6, (378, 378), 14, 729, False, True, False
    )
    adapter = AdapterConfig((-3, -9), 1152, 16, 72, 18944, 3584, "silu", None)
    llm = LlmConfig(
        3584, 28, 28, 4, 128, 18944, 152064, 128, True, False, "olmo", False, "silu", 1e6, 1e-6,
        4096,
    )  # fmt: skip
    return MolmoActConfig(vit, adapter, llm, 152066, {})


def random_7b_d(device: torch.device, dtype: torch.dtype, seed: int) -> MolmoAct:
    """Random weights that keep the size of what passes through them."""
    torch.manual_seed(seed)
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device("meta"):
            model = MolmoAct(released_7b_d())
    finally:
        torch.set_default_dtype(default)
    model = model.to_empty(device=device)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name or "ln_f" in name:
                parameter.fill_(0.0 if name.endswith(".bias") else 1.0)
            elif name.endswith(".bias"):
                parameter.zero_()
            else:
                fan_in = 1 if "embedding" in name else parameter.shape[-1]
                parameter.normal_(0.0, fan_in**-0.5)
    return model.eval().requires_grad_(False)


class Run:
    """Results so far, written after every stage; stages that no longer fit are named."""

    def __init__(self, path: Path, limit: float) -> None:
        self._path, self._limit, self._started = path, limit, time.monotonic()
        self.data: dict[str, Any] = {"skipped": [], "failed": {}}

    def stage(self, name: str, work: Any, needs: float = 20.0) -> Any:
        left = self._limit - (time.monotonic() - self._started)
        if left < needs:
            self.data["skipped"].append(name)
            print(f"[{name}] skipped, {left:.0f} s left", flush=True)
            result = None
        else:
            started = time.monotonic()
            try:
                result = work()
                self.data[name] = result
            except (RuntimeError, ValueError, SystemExit) as error:
                self.data["failed"][name] = str(error)[:2000]
                result = None
            took = time.monotonic() - started
            state = "FAILED" if name in self.data["failed"] else "done"
            print(f"[{name}] {state} in {took:.1f} s", flush=True)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps(self.data, indent=1) + "\n")
        return result


def machine() -> dict[str, Any]:
    """What the numbers were taken on."""
    query = "name,driver_version,clocks.sm,clocks.mem,clocks.max.sm,clocks.max.mem,power.limit"
    try:
        smi = subprocess.run(
            ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"],
            capture_output=True, text=True, timeout=20, check=False,
        ).stdout.strip()  # fmt: skip
    except OSError:
        smi = "nvidia-smi is not there"
    return {
        "device": torch.cuda.get_device_name(),
        "smi": smi,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
    }


def copy_bandwidth() -> float:
    """Bytes a second a large read and write reaches together."""
    source = torch.empty(2 * 1024**3, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    for _ in range(3):
        target.copy_(source)
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(10):
        target.copy_(source)
    torch.cuda.synchronize()
    return 10 * 2 * source.numel() / (time.perf_counter() - started)


def draft_independence(bench: Bench, repeats: int) -> dict[str, Any]:
    """The network's own choice (nothing scripted) under ever other memories, token by token."""
    rng = np.random.default_rng(5)
    engine, answers, forwards = bench.engine, set(), []
    memory = DraftMemory()
    for repeat in range(repeats):
        # Every fourth time what was learned is kept: guesses are right, other rows are used.
        if repeat and repeat % 4 != 3:
            memory = DraftMemory()
            memory.depth = tuple(rng.integers(0, 128, int(rng.integers(1, 130))).tolist())
            memory.trace = tuple(rng.integers(0, 256, 2 * int(rng.integers(1, 6))).tolist())
            memory.rows = tuple(map(tuple, rng.integers(0, 256, (8, 7)).tolist()))
        answer = engine.answer(bench.prompt, bench.features, bench.grammar, memory=memory)
        answers.add(answer.ids)
        forwards.append(answer.forwards)
    return {
        "repeats": repeats,
        "different_answers": len(answers),
        "forwards": [min(forwards), max(forwards)],
    }


def vision_ms(model: MolmoAct, pictures: int) -> dict[str, float]:
    """Both crops of each picture, identical ones encoded once, and without that."""
    crops = torch.randn(2 * pictures, 729, 588, device=model.device, dtype=model.dtype)
    pooled = torch.randint(0, 729, (2 * pictures * 196, 4), device=model.device)
    same = torch.arange(2 * pictures, device=model.device) // 2 * 2
    found = {}
    for name, groups in (("once", same), ("twice", None)):
        times = []
        for _ in range(8):
            torch.cuda.synchronize()
            started = time.perf_counter()
            with torch.inference_mode():
                model.encode_images(crops, pooled, same_as=groups)
            torch.cuda.synchronize()
            times.append(time.perf_counter() - started)
        found[name] = percentiles(times[3:])["p50"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200, help="thoughts at the main points")
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--limit", type=float, default=500.0, help="seconds for everything")
    parser.add_argument("--vocabulary", type=Path, help="qwen.tiktoken; default: installed package")
    parser.add_argument("--out", type=Path, help="folder; default $OUT or benchmarks/results")
    parser.add_argument("--fused", action="store_true", help="also measure Inductor's forward")
    values = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("torch sees no GPU; run this where torch.cuda.is_available() is true")
    # Float32 sums stay float32 and products keep one order: the same bits every time.
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    device = torch.device("cuda")
    name = torch.cuda.get_device_name()
    family = next((key for key in ("H200", "H100", "A100", "4090") if key in name), "other")
    folder = values.out or Path(os.environ.get("OUT") or Path(__file__).parent / "results")
    run = Run(folder / f"gpu_engine_{family}.json", values.limit)
    run.stage("machine", machine)
    copied = run.stage("copy_bandwidth", copy_bandwidth)
    gc.collect()
    torch.cuda.empty_cache()
    tokenizer = qwen_tokenizer(values.vocabulary)
    vocabulary = Vocabulary(tokenizer)
    grammar = AnswerGrammar(
        tokenizer, answer_automaton(AnswerShape(("multi",)), tokenizer), vocabulary
    )
    model = random_7b_d(device, torch.bfloat16, 0)
    ids = tokenizer.ids
    picture = [ids.im_start, *[ids.im_patch] * (PATCHES - 32), *[ids.im_col] * 30, ids.im_end]
    words = tokenizer.encode("User: The task is to put it there. " + "think " * 100 + "Assistant:")
    prompt = [ids.eos, *picture, *picture, *words]
    features = torch.randn(
        2 * (PATCHES - 32), 3584, device=device, dtype=torch.bfloat16,
        generator=torch.Generator(device).manual_seed(1),
    )  # fmt: skip
    bandwidth = BANDWIDTH.get(family, copied or 1e12)
    roof = roofline(model, bandwidth, False, len(prompt) + 230)
    run.data.update(prompt_tokens=len(prompt), bandwidth=bandwidth, bytes_a_forward=roof.bytes_read)

    def bench(mode: str, **changes: Any) -> Bench:
        base = settings_for(name, mode)  # type: ignore[arg-type]
        chosen = {"rows": base.rows, **changes}
        engine = Engine(model, tokenizer, EngineSettings(mode, **chosen), vocabulary)  # type: ignore[arg-type]
        return Bench(engine, tokenizer, grammar, device, prompt, features)

    plain = run.stage("plain", lambda: bench("plain").thoughts(0.8, 5, warm=1))
    run.stage("plain_one_row", lambda: bench("plain", rows=(1,)).thoughts(0.8, 3, warm=1))
    results = []
    for mode in ("strict", "constrained"):
        engine = bench(mode)
        for hits in HITS if mode == "strict" else HITS[:2]:
            steps = values.steps if hits in HITS[:2] else values.steps // 4
            found = run.stage(f"{mode}_{hits}", lambda e=engine, h=hits, n=steps: e.thoughts(h, n))
            if found:
                results.append(found | {"mode": mode})
        del engine
    run.stage(
        "draft_independence",
        lambda: draft_independence(bench("constrained"), values.repeats),
        needs=60,
    )
    run.stage("vision", lambda: {str(n): vision_ms(model, n) for n in (1, 2)})
    run.stage("rows_128", lambda: bench("strict", rows=(128,)).thoughts(0.8, 20))
    run.stage("no_graphs", lambda: bench("strict", graphs=False).thoughts(0.8, 5, warm=1))
    if values.fused:
        run.stage("fused_plain", lambda: bench("plain", fused=True).thoughts(0.8, 3, warm=1), 90)
        run.stage("fused", lambda: bench("strict", fused=True).thoughts(0.8, 30), 60)
    if plain:
        plain["mode"] = "plain"
        print(table(results, plain, roof))
        run.data["verdicts"] = verdicts(plain, results, run.data, family)
        print(json.dumps(run.data["verdicts"], indent=1))
        run.stage("summary", lambda: [plain, *results], 0)


def verdicts(
    plain: dict[str, Any], results: list[dict[str, Any]], data: dict[str, Any], family: str
) -> dict[str, Any]:
    """The stated goals, each with what was measured."""
    found: dict[str, Any] = {"plain_share_of_bandwidth": 1 / plain["R"]}
    strict = {r["hits"]: r for r in results if r["mode"] == "strict"}
    half, still = GOALS.get(family, (None, None))
    for hits, goal in ((0.8, half), (1.0, still)):
        if hits in strict:
            seconds = strict[hits]["thought_ms"]["p50"] / 1e3
            found[f"thought_at_{hits}"] = {"seconds": seconds, "goal": goal, "A": strict[hits]["A"]}
    alike = data.get("draft_independence")
    if alike:
        found["bit_identical"] = alike["different_answers"] == 1
    return found


if __name__ == "__main__":
    main()
