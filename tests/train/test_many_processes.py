"""One, two and four processes train the same network, and a run continues on another number."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from molmoact_ros.model.checkpoint import load_checkpoint, save_weights
from molmoact_ros.train.loading import load_network, settle
from molmoact_ros.train.loss import Learner
from molmoact_ros.train.processes import World

sys.path.insert(0, str(Path(__file__).parent))
from train_helpers import small_recipe, source_of

SCRIPT = Path(__file__).parent / "one_process.py"
LOOK = {"look_every": 3, "look_samples": 2, "look_decoded": 1}


def losses(folder: Path, out: Path, world: int, **fields: object) -> list[float]:
    """Train in ``world`` processes; the losses of the steps that were done now."""
    command = [sys.executable, str(SCRIPT)]
    if world > 1:
        command = [
            sys.executable, "-m", "torch.distributed.run", "--standalone",
            f"--nproc-per-node={world}", str(SCRIPT),
        ]  # fmt: skip
    arguments = [str(folder), str(out), json.dumps(fields)]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return [float(x) for x in json.loads((out / "losses.json").read_text())]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights in bfloat16, as released ones: sharded they are mapped, cut and then made float32."""
    made = tmp_path_factory.mktemp("many")
    base = source_of(made, small_recipe()).base
    save_weights(base, load_checkpoint(base).model.to(torch.bfloat16))
    return made


def last_look(out: Path) -> dict[str, float]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return next(line for line in lines[::-1] if line["kind"] == "look")


def test_a_network_to_be_cut_is_mapped_as_stored_and_made_float32_when_it_is_small(
    folder: Path,
) -> None:
    """Eight processes that each hold 33 GB of float32 need more than a machine has."""

    def precisions(mode: str, size: int) -> tuple[set[torch.dtype], set[torch.dtype]]:
        recipe, world = small_recipe(mode=mode), World(0, size, torch.device("cpu"))
        learner = Learner(load_network(folder / "base", recipe, world))
        loaded = {p.dtype for p in learner.parameters()}
        settle(learner, recipe, world)
        return loaded, {p.dtype for p in learner.parameters()}

    assert precisions("shard", 2) == ({torch.bfloat16}, {torch.float32})
    assert precisions("shard", 1) == ({torch.float32}, {torch.float32})
    assert precisions("replicate", 2) == ({torch.float32}, {torch.float32})


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    "fields",
    [
        {"method": "full", "mode": "replicate"},
        {"method": "full", "mode": "shard", **LOOK},
        {"method": "lora", "mode": "shard", "rank": 4, "alpha": 2, **LOOK},
    ],
    ids=["replicate", "shard", "lora-shard"],
)
def test_losses_do_not_depend_on_the_number_of_processes(
    folder: Path, tmp_path: Path, fields: dict[str, object]
) -> None:
    """Divided by the global count of learned tokens; averages of averages would differ. A look at
    a sharded network, in which all processes decode, sees what one process sees.
    """
    alone = losses(folder, tmp_path / "1", 1, micro=1, **fields)
    for world in (2, 4):
        # Four processes take no other way than two, and long for a look.
        looks = {"look_every": 0} if world == 4 else {}
        together = losses(folder, tmp_path / str(world), world, micro=1, **{**fields, **looks})
        assert together == pytest.approx(alone, abs=1e-5)
        if "look_every" in fields and not looks:
            seen, whole = last_look(tmp_path / str(world)), last_look(tmp_path / "1")
            assert seen.keys() == whole.keys() and "first_x_mm" in seen
            assert seen["loss"] == pytest.approx(whole["loss"], abs=1e-4)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_stopped_run_continues_sample_exactly_on_another_number_of_processes(
    folder: Path, tmp_path: Path
) -> None:
    whole = losses(folder, tmp_path / "whole", 1, steps=4, micro=1)
    first = losses(folder, tmp_path / "parts", 2, steps=4, micro=1, stop=2, mode="shard")
    rest = losses(folder, tmp_path / "parts", 1, steps=4, micro=1)
    assert first + rest == pytest.approx(whole, abs=1e-5)
