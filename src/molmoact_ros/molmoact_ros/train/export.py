"""A finished run as something that drives: adapter, merged checkpoint, statistics, card, self-test.

The folder has the layout of released checkpoints; statistics of the new data set stand in
config.json beside inherited ones, with the data card's travelling fields.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from molmoact_ros.data.card import CARD_FILE
from molmoact_ros.data.dataset import STATISTICS, DataSet
from molmoact_ros.model.checkpoint import (
    load_checkpoint,
    read_origin,
    save_settings,
    save_weights,
    write_card,
)
from molmoact_ros.model.config import CheckpointError, read_json
from molmoact_ros.model.lora import load_adapter, merge_adapter
from molmoact_ros.model.tokenizer import MolmoActTokenizer
from molmoact_ros.reasoning.actions import encode
from molmoact_ros.reasoning.answer import AnswerContract, parse_answer, read_answer
from molmoact_ros.reasoning.statistics import read_statistics
from molmoact_ros.train.adapters import add_adapters, save_adapter
from molmoact_ros.train.checkpoints import load_state
from molmoact_ros.train.loss import Learner
from molmoact_ros.train.optimiser import train_parts
from molmoact_ros.train.processes import World
from molmoact_ros.train.recipe import Recipe
from molmoact_ros.train.samples import asked
from molmoact_ros.train.tracker import METRICS

ADAPTER = "adapter"
SELF_TEST_ANSWERS = 50


@dataclass(frozen=True)
class SelfTest:
    """answers read back; worst: largest distance in bins from the recorded action."""

    answers: int
    worst: int

    @property
    def passed(self) -> bool:
        return self.answers > 0 and self.worst <= 1


def export_run(
    run: Path, base: Path, folders: Sequence[Path], out: Path, checkpoint: Path, recipe: Recipe
) -> SelfTest:
    """Write ``out``. folders: the data sets; the first one's card is the checkpoint's, the
    statistics of all go into config.json. Raises CheckpointError when the self-test fails; the
    folder is removed.
    """
    data = folders[0]
    world = World(0, 1, torch.device("cpu"))
    loaded = load_checkpoint(base, "cpu", torch.float32)
    network = loaded.model
    lora = recipe.method == "lora"
    if lora:
        add_adapters(network, recipe.rank, recipe.alpha, recipe.seed)
    else:
        train_parts(network, recipe)
    load_state(checkpoint, Learner(network), (), recipe, world)
    scratch = out.with_name(out.name + ".part")
    shutil.rmtree(scratch, ignore_errors=True)
    if lora:
        save_adapter(network, scratch / ADAPTER, recipe.rank, recipe.alpha, str(base))
        # A fresh copy: merging goes through the adapter file, so the file is proven too.
        network = load_checkpoint(base, "cpu", torch.float32).model
        merge_adapter(network, load_adapter(scratch / ADAPTER))
    stats = {} if base.name == "start" else dict(loaded.config.norm_stats)
    for folder in reversed(folders):
        stats |= read_json(folder / STATISTICS)
    config = replace(loaded.config, norm_stats=stats)
    save_settings(scratch, config, loaded.tokenizer, loaded.processor.settings)
    save_weights(scratch, network.to(torch.bfloat16))
    for name in (CARD_FILE, STATISTICS):
        shutil.copyfile(data / name, scratch / name)
    shutil.copyfile(run / "recipe.json", scratch / "recipe.json")
    test = self_test(scratch, data)
    names = " and ".join(folder.name for folder in folders)
    write_card(scratch, _card_text(run, base, data, recipe, test), _origin(base, names, recipe))
    if not test.passed:
        shutil.rmtree(scratch)
        raise CheckpointError(
            f"{out}: self-test failed, a training answer came back {test.worst} bins away; the "
            "tokenizer does not belong to this data set"
        )
    load_checkpoint(scratch)
    shutil.rmtree(out, ignore_errors=True)
    scratch.rename(out)
    return test


def self_test(folder: Path, data: Path, count: int = SELF_TEST_ANSWERS) -> SelfTest:
    """Training answers through the exported tokenizer, parser and statistics, and back to bins."""
    config = read_json(folder / "config.json")
    vocabulary = int(config["llm_config"]["vocab_size"])
    tokenizer = MolmoActTokenizer.load(folder, vocabulary)
    source = DataSet(data, "train")
    key = source.card.name
    statistics = read_statistics(config, key)
    worst, answers = 0, 0
    for number in np.linspace(0, len(source) - 1, min(count, len(source))).astype(int):
        tick = source.tick(int(number))
        kind = "reason" if tick.trace is not None and tick.depth is not None else "act"
        text = asked(tick, source.card, kind).answer
        contract = AnswerContract(
            statistics, rows=source.card.chunk, dims=statistics.dims, steered=kind == "act"
        )
        spoken = tokenizer.decode(tokenizer.encode(text))
        bins = read_answer(spoken, contract).bins
        actions = parse_answer(spoken, contract).actions
        # Scaled back with the data set's own file: the exported statistics are what is tested.
        again = _bins_again(actions, source.statistics)
        recorded = tick.bins.astype(int)
        worst = max(worst, int(np.abs(bins - recorded).max()))
        worst = max(worst, int(np.abs(again - np.minimum(recorded, 254)).max()))
        answers += 1
    return SelfTest(answers, worst)


def _bins_again(actions: np.ndarray, statistics: Any) -> np.ndarray:
    """Physical actions to bins; unscaled dimensions already are training values."""
    low = statistics.q01.astype(np.float32)
    high = statistics.q99.astype(np.float32)
    span = np.where(np.isclose(high, low), 1.0, high - low)
    normal = 2.0 * (actions - low) / span - 1.0
    normal = np.where(np.isclose(high, low), 0.0, normal)
    return np.minimum(encode(np.where(statistics.scaled, normal, actions)).astype(int), 254)


def _origin(base: Path, data: str, recipe: Recipe) -> str:
    if base.name == "start":
        return f"trained from nothing by molmoact train on {data}, {recipe.steps} steps"
    return f"{recipe.method} fine-tuning of [{read_origin(base)}] on {data}"


def _card_text(run: Path, base: Path, data: Path, recipe: Recipe, test: SelfTest) -> str:
    source = DataSet(data, "")
    card, statistics = source.card, source.statistics
    lines = [
        f"# {data.name} ({recipe.method})",
        "",
        f"Statistics key `{card.name}`; {statistics.num_trajectories} episodes, "
        f"{statistics.num_transitions} ticks at {card.fps:g} Hz; chunks of {card.chunk} rows.",
        f"Cameras, in this order: {', '.join(card.cameras)} at {card.image_size[0]} x "
        f"{card.image_size[1]} pixels; centre crop {card.center_crop:g}.",
        f"Actions: {card.action_source} poses, {card.delta_frame} frame, {card.euler}; gripper "
        f"recorded as {card.gripper_raw}.",
        f"Trace from {card.trace_source}, depth from {card.depth_source} (code book "
        f"{card.depth_codebook or 'none'}).",
        f"Recipe: {recipe.steps} steps of {recipe.batch} samples, see recipe.json.",
        f"Self-test: {test.answers} training answers read back, at most {test.worst} bins away.",
    ]
    look = last_look(run)
    if look:
        lines += ["", "| held out | value |", "|---|---|"]
        lines += [f"| {name} | {value:.4g} |" for name, value in look.items()]
    return "\n".join(lines)


def last_look(run: Path) -> Mapping[str, float]:
    """The last held-out numbers of a run; empty when it never looked."""
    path = run / METRICS
    found: dict[str, float] = {}
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            values = json.loads(line)
            if values.get("kind") == "look":
                found = {k: float(v) for k, v in values.items() if k not in ("kind", "time")}
    return found
