"""A finished run as something that drives: adapter, merged checkpoint, statistics, card, self-test.

The folder has the layout of released checkpoints; statistics of the new data set stand in
config.json before inherited ones, with the data card's travelling fields; the first set's are
taken where nobody names a key.
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

from molmoact_ros.data.card import CARD_FILE, load_card
from molmoact_ros.data.dataset import STATISTICS, DataSet
from molmoact_ros.model.checkpoint import (
    load_checkpoint,
    read_origin,
    save_settings,
    write_card,
)
from molmoact_ros.model.config import CheckpointError, read_json
from molmoact_ros.model.lora import Adapter, load_adapter, merge_adapter
from molmoact_ros.model.molmoact import MolmoAct
from molmoact_ros.model.tokenizer import MolmoActTokenizer
from molmoact_ros.model.weight_writing import write_weights
from molmoact_ros.reasoning.actions import encode
from molmoact_ros.reasoning.answer import AnswerContract, parse_answer, read_answer
from molmoact_ros.reasoning.statistics import CARD, DEFAULT, read_statistics
from molmoact_ros.reasoning.thought import ThoughtRefused
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
    """answers read back; worst: largest distance in bins from the recorded action; refused: why
    the parser did not take one, which ends the test.
    """

    answers: int
    worst: int
    refused: str = ""

    @property
    def passed(self) -> bool:
        return self.answers > 0 and self.worst <= 1 and not self.refused


def export_run(
    run: Path, base: Path, folders: Sequence[Path], out: Path, checkpoint: Path, recipe: Recipe
) -> SelfTest:
    """Write ``out``. folders: the data sets; the first one's card is the checkpoint's, the
    statistics of all go into config.json. Raises CheckpointError when the self-test fails; the
    folder is removed.
    """
    data, lora = folders[0], recipe.method == "lora"
    # Frozen weights stay in their file, mapped: only what was trained is held in float32.
    loaded = load_checkpoint(base, "cpu", None if lora else torch.float32)
    network = loaded.model
    if lora:
        add_adapters(network, recipe.rank, recipe.alpha, recipe.seed)
    else:
        train_parts(network, recipe)
    load_state(checkpoint, Learner(network), (), recipe, World(0, 1, torch.device("cpu")))
    scratch = out.with_name(out.name + ".part")
    shutil.rmtree(scratch, ignore_errors=True)
    inherited = {} if _untrained(base) else loaded.config.norm_stats
    config = replace(loaded.config, norm_stats=_statistics(folders, inherited))
    save_settings(scratch, config, loaded.tokenizer, loaded.processor.settings)
    adapter = None
    if lora:
        save_adapter(network, scratch / ADAPTER, recipe.rank, recipe.alpha, str(base))
        # A fresh copy: merging goes through the adapter file, so the file is proven too.
        network = load_checkpoint(base, "cpu", None).model
        adapter = load_adapter(scratch / ADAPTER)
    _save_weights(scratch, network, adapter)
    for name in (CARD_FILE, STATISTICS):
        shutil.copyfile(data / name, scratch / name)
    shutil.copyfile(run / "recipe.json", scratch / "recipe.json")
    test = self_test(scratch, data)
    names = " and ".join(folder.name for folder in folders)
    write_card(scratch, _card_text(run, base, data, recipe, test), _origin(base, names, recipe))
    if not test.passed:
        shutil.rmtree(scratch)
        found = test.refused or f"a training answer came back {test.worst} bins away"
        raise CheckpointError(
            f"{out}: self-test failed: {found}; the tokenizer does not belong to this data set"
        )
    load_checkpoint(scratch, dtype=None)
    shutil.rmtree(out, ignore_errors=True)
    scratch.rename(out)
    return test


def _statistics(folders: Sequence[Path], inherited: Mapping[str, Any]) -> dict[str, Any]:
    """Entries of all sets, the first one's first and taken by default, then those of the base."""
    own = load_card(folders[0]).name
    entries: dict[str, Any] = {}
    for table in [*(read_json(folder / STATISTICS) for folder in folders), inherited]:
        for key, entry in table.items():
            entries.setdefault(key, _entry(entry, key == own))
    return dict(sorted(entries.items(), key=lambda item: item[0] != own))


def _entry(entry: Mapping[str, Any], default: bool) -> dict[str, Any]:
    """A base that was fine-tuned too has a default of its own, which is no longer one."""
    card = {name: value for name, value in entry.get(CARD, {}).items() if name != DEFAULT}
    if default:
        card[DEFAULT] = True
    rest = {name: value for name, value in entry.items() if name != CARD}
    return {**rest, CARD: card} if card else rest


def _save_weights(folder: Path, network: MolmoAct, adapter: Adapter | None) -> None:
    """In bfloat16, merged a layer at a time: a float32 copy of seven billion numbers is 33 GB."""
    state = network.state_dict()
    layers = {n: m for n, m in network.named_modules() if isinstance(m, torch.nn.Linear)}

    def made(name: str) -> torch.Tensor:
        layer = name.removesuffix(".weight")
        if adapter is None or layer not in adapter.halves:
            return state[name]
        before = layers[layer].weight
        merge_adapter(network, replace(adapter, halves={layer: adapter.halves[layer]}))
        after, layers[layer].weight = layers[layer].weight, before
        return after.detach()

    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    write_weights(folder, shapes, lambda name: torch.bfloat16, made)


def _untrained(base: Path) -> bool:
    """By what its card says: random weights, whose statistics say nothing about any robot."""
    return read_origin(base).startswith("RANDOM")


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
        # What the robot will ask for: a thought where traces were labelled, with depth or without.
        kind = "reason" if tick.trace is not None else "act"
        text = asked(tick, source.card, kind).answer
        contract = AnswerContract(
            statistics,
            rows=source.card.chunk,
            dims=statistics.dims,
            steered=kind == "act",
            depth_required=tick.depth is not None,
        )
        spoken = tokenizer.decode(tokenizer.encode(text))
        try:
            bins = read_answer(spoken, contract).bins
            actions = parse_answer(spoken, contract).actions
        except ThoughtRefused as refusal:
            return SelfTest(answers, worst, refusal.reason)
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
    if _untrained(base):
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
