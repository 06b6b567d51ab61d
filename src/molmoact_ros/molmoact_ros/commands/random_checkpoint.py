"""``molmoact random-checkpoint``: seeded random weights in the released layout."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from molmoact_ros.viz.terminal import Terminal

CONFIGS = ("nano", "small-d", "small-o", "7b-d", "7b-o")
EXIT_OK, EXIT_CANNOT = 0, 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``molmoact random-checkpoint``."""
    add = parser.add_argument
    add("--config", required=True, choices=CONFIGS, help="7b: released size (16 GB); small; nano")
    add("--seed", type=int, default=0, help="the same seed gives the same weights")
    add("--out", required=True, type=Path, help="folder to write; must be new or empty")
    add("--dtype", default="", choices=("", "bfloat16", "float32"), help="default: bfloat16")
    add("--shard-gb", type=float, default=5.0, help="largest file in GB")
    add(
        "--tokenizer",
        type=Path,
        help="7b only: tokenizer.json of the base vocabulary (Qwen2.5 for 7b-d, dolma2 for 7b-o); "
        "default: a stand-in with the same ids",
    )


def run(values: argparse.Namespace) -> int:
    """Write the folder; the exit status. What went wrong is said on stderr."""
    try:
        _write(values, Terminal())
    except (ValueError, OSError) as error:
        sys.stderr.write(f"molmoact random-checkpoint: {error}\n")
        return EXIT_CANNOT
    return EXIT_OK


def _write(values: argparse.Namespace, terminal: Terminal) -> None:
    # Late: these take seconds, and --help needs none of them.
    import torch

    from molmoact_ros.model.nano import save_random_nano
    from molmoact_ros.model.nano_tokenizer import build_nano_tokenizer
    from molmoact_ros.model.presets import PRESETS
    from molmoact_ros.model.random_weights import save_random_checkpoint
    from molmoact_ros.model.stand_in_tokenizer import extended_tokenizer, stand_in_tokenizer

    out: Path = values.out
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is not empty; give a new folder, nothing is overwritten")
    if values.seed < 0 or values.shard_gb <= 0:
        raise ValueError("--seed must not be negative and --shard-gb must be positive")
    if values.tokenizer is not None and not values.config.startswith("7b"):
        raise ValueError("--tokenizer fits the 7b sizes only; the others have their own vocabulary")
    if values.config == "nano":
        if values.dtype == "bfloat16":
            raise ValueError("nano is made for a CPU, in float32; leave --dtype out")
        save_random_nano(out, values.seed)
    else:
        preset = PRESETS[values.config]()
        size = preset.config.llm.vocab_size
        if not preset.released_vocabulary:
            tokenizer = build_nano_tokenizer()
        elif values.tokenizer is None:
            tokenizer = stand_in_tokenizer(size)
        else:
            tokenizer = extended_tokenizer(values.tokenizer, size)
        save_random_checkpoint(
            out,
            preset,
            tokenizer,
            f"MolmoAct {values.config}",
            values.seed,
            getattr(torch, values.dtype or "bfloat16"),
            shard_bytes=round(values.shard_gb * 1e9),
            progress=terminal.progress("writing"),
        )
    terminal.line(f"wrote {out}: random weights, seed {values.seed}; they have learned nothing")
