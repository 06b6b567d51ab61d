"""Training speed: samples a second, model FLOP utilisation and peak memory of one process.

    python benchmarks/train.py --size mini --device cuda                   (a new small network)
    python benchmarks/train.py --size micro --micro 8                      (on the CPU)
    python benchmarks/train.py --preset 7b-d --method lora --device cuda   (random, released size)

Data are made up in memory, so this is the speed of the network and its optimiser; `molmoact train`
prints the speed with its loader. MFU counts 2 FLOP a multiplication, backward as twice the forward
(frozen weights: once), recomputation not at all, against --peak TFLOP/s; on a CPU the peak is what
a large float32 matrix product reaches in the same run with the same threads.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from pathlib import Path

import numpy as np
import torch

from molmoact_ros.model.config import MolmoActConfig
from molmoact_ros.model.image_processor import ImageProcessor
from molmoact_ros.model.molmoact import MolmoAct
from molmoact_ros.model.nano_tokenizer import build_nano_tokenizer
from molmoact_ros.model.presets import PRESETS as NETWORKS
from molmoact_ros.model.prompt import prompt_ids
from molmoact_ros.model.stand_in_tokenizer import stand_in_tokenizer
from molmoact_ros.reasoning.answer import compose_answer
from molmoact_ros.reasoning.prompts import chat_text, question
from molmoact_ros.train.adapters import add_adapters
from molmoact_ros.train.batches import Batch, collate
from molmoact_ros.train.loss import Learner, recompute_blocks
from molmoact_ros.train.optimiser import clip_groups, make_optimisers
from molmoact_ros.train.recipe import Recipe
from molmoact_ros.train.samples import Sample, without_duplicates
from molmoact_ros.train.sizes import SIZES, small_config, small_tokenizer

RESULTS = Path(__file__).parent / "results"


def sample(tokenizer, processor, rng: np.random.Generator) -> Sample:
    """A reasoning sample of two 320 x 240 pictures with random labels."""
    pictures = [rng.integers(0, 255, (240, 320, 3)).astype(np.uint8) for _ in range(2)]
    processed = processor(pictures, multi=True)
    prompt = prompt_ids(
        tokenizer, chat_text(question("put the red cube on the plate", 2)), processed.kinds,
        multi=True,
    )  # fmt: skip
    answer = compose_answer(
        rng.integers(0, 128, 100), rng.integers(0, 256, (5, 2)), rng.integers(0, 255, (8, 7)),
        "multi",
    )  # fmt: skip
    ids = [*prompt, *tokenizer.encode(answer), tokenizer.ids.eos]
    crops, pooled = without_duplicates(
        processed.crops, np.asarray(processed.pooled_patches), np.asarray(processed.same_as)
    )
    return Sample(np.array(ids, np.int32), len(prompt), crops, pooled, "reason")


def flops(config: MolmoActConfig, batch: Batch, trained_weights: bool) -> float:
    """Of one step: weights times tokens, and attention."""
    llm, vit = config.llm, config.vit
    rows, length = batch.ids.shape
    width = llm.num_attention_heads * llm.head_dim
    kv = llm.num_key_value_heads * llm.head_dim
    block = llm.hidden_size * (2 * width + 2 * kv + 3 * llm.intermediate_size)
    forward = 2.0 * rows * length * llm.num_hidden_layers * (block + width * length)
    forward += 2.0 * batch.learned * llm.hidden_size * llm.vocab_size
    crops, patches, _ = batch.crops.shape
    size = vit.num_attention_heads * vit.head_dim
    per = 4 * vit.hidden_size * size + 2 * vit.hidden_size * vit.intermediate_size
    forward += 2.0 * crops * patches * config.vit_blocks * (per + 2 * size * patches)
    return forward * (3.0 if trained_weights else 2.0)


def matrix_peak(side: int = 2048) -> float:
    """TFLOP/s of a float32 matrix product on the CPU; the best of ten."""
    a, b = torch.randn(side, side), torch.randn(side, side)
    best = float("inf")
    for _ in range(10):
        started = time.perf_counter()
        torch.mm(a, b)
        best = min(best, time.perf_counter() - started)
    return 2.0 * side**3 / best / 1e12


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="nano")
    parser.add_argument("--preset", default="", help="instead of --size: 7b-d, 7b-o, small-d ...")
    parser.add_argument("--method", choices=("full", "lora"), default="full")
    parser.add_argument("--micro", type=int, default=4)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--peak", type=float, help="TFLOP/s of the device; default: 989 (H100, bf16), CPU: measured"
    )
    parser.add_argument("--no-recompute", action="store_true")
    parser.add_argument("--compile", action="store_true")
    values = parser.parse_args()
    if values.preset:
        preset = NETWORKS[values.preset]()
        config, settings = preset.config, preset.settings
        released = preset.released_vocabulary
        tokenizer = (
            stand_in_tokenizer(config.llm.vocab_size) if released else build_nano_tokenizer()
        )
    else:
        (config, settings), tokenizer = small_config(values.size), small_tokenizer(values.size)
    lora, cuda = values.method == "lora", values.device.startswith("cuda")
    with torch.device("meta"):
        network = MolmoAct(config)
    network = network.to(torch.bfloat16 if lora and cuda else torch.float32)
    network.to_empty(device=values.device)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.ndim == 1:
                parameter.fill_(float("norm" in name or "ln_f" in name))
            else:
                parameter.normal_(0.0, 0.02)
    recipe = Recipe(method=values.method, batch=values.micro, micro=values.micro)
    if lora:
        add_adapters(network, recipe.rank, recipe.alpha, 0)
    else:
        network.requires_grad_(True)
    learner = Learner(network, 1e-4, 0.1).to(values.device).train()
    if not values.no_recompute:
        recompute_blocks(network)
    if values.compile:
        network.model.transformer.compile(dynamic=True)
    optimisers = make_optimisers(learner, recipe, fused=cuda)
    processor, rng = ImageProcessor(settings), np.random.default_rng(0)
    batch = collate([sample(tokenizer, processor, rng) for _ in range(values.micro)])
    batch = batch.to(torch.device(values.device))
    times = []
    for _ in range(values.steps + 2):
        started = time.perf_counter()
        half = torch.autocast(values.device.split(":")[0], torch.bfloat16)
        with half if cuda else contextlib.nullcontext():
            loss, _ = learner(batch)
        (loss / batch.learned).backward()
        clip_groups(optimisers, 1.0)
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        if cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    seconds = float(np.median(times[2:]))
    work = flops(config, batch, trained_weights=not lora)
    peak = values.peak or (989.0 if cuda else matrix_peak())
    found = {
        "network": values.preset or values.size, "method": values.method, "micro": values.micro,
        "tokens": int(batch.ids.shape[1]), "seconds": seconds,
        "samples_s": values.micro / seconds, "tflops": work / seconds / 1e12,
        "peak_tflops": peak, "mfu": work / seconds / 1e12 / peak,
        "threads": torch.get_num_threads(),
        "peak_gib": torch.cuda.max_memory_allocated() / 2**30 if cuda else 0.0,
        "device": torch.cuda.get_device_name() if cuda else "cpu",
    }  # fmt: skip
    print(json.dumps(found, indent=1))
    RESULTS.mkdir(exist_ok=True)
    name = f"train_{found['network']}_{values.method}_{'cuda' if cuda else 'cpu'}.json"
    (RESULTS / name).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
