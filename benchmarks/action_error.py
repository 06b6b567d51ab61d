"""What quantised weights do to actions: bins of exact and quantised answers to the same pictures.

    python benchmarks/action_error.py CHECKPOINT --kind int8 --pictures 16

Quantised weights are not exact; look at this report before a robot uses them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from molmoact_ros.engine.answers import AnswerShape, answer_automaton
from molmoact_ros.engine.engine import Engine
from molmoact_ros.engine.grammar import AnswerGrammar, Vocabulary
from molmoact_ros.engine.quantize import quantize_weights
from molmoact_ros.engine.reader import Part
from molmoact_ros.engine.settings import settings_for
from molmoact_ros.model.checkpoint import Checkpoint, load_checkpoint
from molmoact_ros.model.prompt import prompt_ids
from molmoact_ros.reasoning.prompts import chat_text, question


def answers(checkpoint: Checkpoint, pictures: int, device: str) -> np.ndarray:
    """Bins [pictures, 8, 7] for seeded pictures."""
    tokenizer, model = checkpoint.tokenizer, checkpoint.model
    vocabulary = Vocabulary(tokenizer)
    shape = AnswerShape(("single",), depth_codes=100)
    grammar = AnswerGrammar(tokenizer, answer_automaton(shape, tokenizer), vocabulary)
    name = "cpu" if device == "cpu" else torch.cuda.get_device_name()
    engine = Engine(model, tokenizer, settings_for(name), vocabulary)
    asked = chat_text(question("put the red cube on the plate", 1))
    found = []
    for seed in range(pictures):
        rng = np.random.default_rng(seed)
        coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        picture = np.kron(coarse, np.ones((40, 40, 1), np.uint8))
        processed = checkpoint.processor([picture], multi=False)
        with torch.inference_mode():
            features = model.encode_images(
                torch.from_numpy(processed.crops),
                torch.from_numpy(processed.pooled_patches).long(),
                same_as=torch.from_numpy(processed.same_as),
            )
        prompt = prompt_ids(tokenizer, asked, processed.kinds, multi=False)
        rows: list[tuple[int, ...]] = []

        def keep(part: Part, rows: list[tuple[int, ...]] = rows) -> None:
            if part.kind == "row":
                rows.append(part.values)

        engine.answer(prompt, features, grammar, on_part=keep)
        found.append(rows)
    return np.array(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--kind", choices=("fp8", "int8", "int4"), default="int8")
    parser.add_argument("--pictures", type=int, default=16)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, help="write the report here as JSON")
    values = parser.parse_args()
    dtype = torch.float32 if values.device == "cpu" else torch.bfloat16
    checkpoint = load_checkpoint(values.checkpoint, values.device, dtype)
    exact = answers(checkpoint, values.pictures, values.device)
    quantize_weights(checkpoint.model, values.kind)
    away = np.abs(answers(checkpoint, values.pictures, values.device) - exact)
    report = {
        "kind": values.kind,
        "answers": values.pictures,
        "same_answers": int((away == 0).all(axis=(1, 2)).sum()),
        "same_bins": float((away == 0).mean()),
        "mean_bins_away": float(away.mean()),
        "bins_away_by_dimension": away.mean(axis=(0, 1)).tolist(),
        "histogram": {
            f"{low}..{high - 1}": int(((away >= low) & (away < high)).sum())
            for low, high in ((0, 1), (1, 2), (2, 4), (4, 8), (8, 16), (16, 64), (64, 256))
        },
    }
    print(json.dumps(report, indent=1))
    if values.out:
        values.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
