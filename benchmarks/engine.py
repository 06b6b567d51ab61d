"""How many forwards and milliseconds a thought takes on this CPU, swept over how much of the
scene changes. Every answer is compared with the scripted one while the clock runs.

    nice python benchmarks/engine.py            # a few minutes; results/engine_cpu.{json,png}
    python benchmarks/engine.py --steps 20 --vocabulary D
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from engine_measure import Bench, roofline, table
from engine_scene import qwen_tokenizer
from PIL import Image, ImageDraw, ImageFont

from molmoact_ros.engine.answers import AnswerShape, answer_automaton
from molmoact_ros.engine.engine import Engine
from molmoact_ros.engine.grammar import AnswerGrammar, Vocabulary
from molmoact_ros.engine.settings import EngineSettings, settings_for
from molmoact_ros.model.config import MolmoActConfig
from molmoact_ros.model.molmoact import MolmoAct
from molmoact_ros.model.nano import nano_config
from molmoact_ros.model.nano_tokenizer import build_nano_tokenizer

HITS = (0.0, 0.5, 0.8, 0.9, 1.0)
RESULTS = Path(__file__).resolve().parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200, help="thoughts per line")
    parser.add_argument("--vocabulary", choices=("nano", "D"), default="nano")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, help="one fixed row count instead of the CPU's sizes")
    values = parser.parse_args()
    torch.set_num_threads(1)
    tokenizer = build_nano_tokenizer() if values.vocabulary == "nano" else qwen_tokenizer()
    model = random_model(tokenizer.vocab_size, values.seed)
    vocabulary = Vocabulary(tokenizer)
    automaton = answer_automaton(AnswerShape(("multi",)), tokenizer)
    grammar = AnswerGrammar(tokenizer, automaton, vocabulary)
    prompt = [tokenizer.ids.eos, *tokenizer.encode("User: " + "put it there " * 60 + "Assistant:")]

    def bench(settings: EngineSettings) -> Bench:
        engine = Engine(model, tokenizer, settings, vocabulary)
        return Bench(engine, tokenizer, grammar, model.device, prompt, None)

    results: list[dict[str, Any]] = []
    plain_steps = max(3, values.steps // 20)
    plain = bench(EngineSettings("plain", rows=(1,))).thoughts(0.8, plain_steps, warm=1)
    plain["mode"] = "plain"
    for mode in ("strict", "constrained"):
        for hits in HITS:
            settings = settings_for("cpu", mode)  # type: ignore[arg-type]
            if values.rows:
                settings = EngineSettings(mode, rows=(values.rows,))  # type: ignore[arg-type]
            result = bench(settings).thoughts(hits, values.steps)
            results.append(result | {"mode": mode})
            print(f"{mode} {hits}: {result['forwards']:.1f} forwards", flush=True)
    roof = roofline(model, copy_bandwidth(), False, len(prompt) + 300)
    print(table(results, plain, roof))
    limits = {0.8: 4, 1.0: 20}
    for result in results:
        if result["hits"] in limits:
            share = plain["forwards"] / result["forwards"]
            print(f"{result['mode']} at {result['hits']}: plain/{share:.1f}", end="; ")
            print("met" if share >= limits[result["hits"]] else "NOT met", end="\n")
    name = "engine_cpu" if values.vocabulary == "nano" else "engine_cpu_D"
    RESULTS.mkdir(exist_ok=True)
    document = {
        "machine": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "seed": values.seed,
        "vocabulary": values.vocabulary,
        "bandwidth": roof.bandwidth,
        "bytes_a_forward": roof.bytes_read,
        "plain": plain,
        "results": results,
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")
    plot(results, plain, RESULTS / f"{name}.png")


def random_model(vocab_size: int, seed: int) -> MolmoAct:
    """nano's network over any vocabulary; random weights."""
    base = nano_config()
    llm = replace(base.llm, vocab_size=vocab_size)
    config: MolmoActConfig = replace(base, llm=llm, image_patch_id=vocab_size + 2)
    model = MolmoAct(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name or "ln_f" in name:
                parameter.fill_(1.0)
            else:
                fan_in = 1 if "embedding" in name else parameter.shape[-1]
                parameter.normal_(0.0, fan_in**-0.5, generator=generator)
    return model.eval().requires_grad_(False)


def copy_bandwidth() -> float:
    """Bytes a second this CPU reads from memory, one thread."""
    big = torch.ones(64 * 1024 * 1024)
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        big.sum()
        best = min(best, time.perf_counter() - started)
    return big.numel() * 4 / best


def plot(results: list[dict[str, Any]], plain: dict[str, Any], path: Path) -> None:
    """Forwards a thought over the share of depth codes that stay."""
    width, height, left, bottom, above = 960, 560, 80, 70, 90
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    small, large = ImageFont.load_default(16), ImageFont.load_default(22)
    top = plain["forwards"] * 1.12

    def at(hits: float, forwards: float) -> tuple[float, float]:
        return (
            left + hits * (width - left - 40),
            height - bottom - forwards / top * (height - bottom - above),
        )

    for step in range(0, int(top), 50):
        draw.line([at(0, step), at(1, step)], fill="#e3e6ea")
        draw.text((left - 12, at(0, step)[1]), str(step), fill="#444444", font=small, anchor="rm")
    for hits in HITS:
        x, y = at(hits, 0)
        draw.text((x, y + 10), f"{hits:.0%}", fill="#444444", font=small, anchor="mt")
    middle = (at(0, 0)[0] + at(1, 0)[0]) / 2
    words = "depth codes that stay from frame to frame"
    draw.text((middle, height - 18), words, fill="#444444", font=small, anchor="mb")
    draw.text((left, 20), "Forwards of the language model for one thought", fill="black",
              font=large)  # fmt: skip
    draw.line([at(0, plain["forwards"]), at(1, plain["forwards"])], fill="#888888", width=2)
    x, y = at(1, plain["forwards"])
    draw.text((x, y - 8), f"plain: {plain['forwards']:.0f}", fill="#666666", font=small,
              anchor="rb")  # fmt: skip
    looks = {"strict": ("#d35400", 9, 62), "constrained": ("#1f6fb2", 4, 330)}
    for mode, (colour, thick, place) in looks.items():
        mine = [r for r in results if r["mode"] == mode]
        points = [at(r["hits"], r["forwards"]) for r in mine]
        draw.line(points, fill=colour, width=thick)
        for (x, y), result in zip(points, mine, strict=True):
            draw.ellipse([x - thick, y - thick, x + thick, y + thick], fill=colour)
            if mode == "constrained":
                draw.text((x, y - 14), f"{result['forwards']:.0f}", fill=colour, font=small,
                          anchor="mb")  # fmt: skip
        draw.line([left + place, 62, left + place + 30, 62], fill=colour, width=thick)
        draw.text((left + place + 40, 62), mode, fill=colour, font=small, anchor="lm")
    image.save(path)


if __name__ == "__main__":
    main()
