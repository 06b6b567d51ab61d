"""One, two and four processes train the same network, and a run continues on another number."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from train_helpers import small_recipe, source_of

SCRIPT = Path(__file__).parent / "one_process.py"


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
    made = tmp_path_factory.mktemp("many")
    source_of(made, small_recipe())
    return made


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    "fields",
    [
        {"method": "full", "mode": "replicate"},
        {"method": "full", "mode": "shard"},
        {"method": "lora", "mode": "shard", "rank": 4, "alpha": 2},
    ],
    ids=["replicate", "shard", "lora-shard"],
)
def test_losses_do_not_depend_on_the_number_of_processes(
    folder: Path, tmp_path: Path, fields: dict[str, object]
) -> None:
    """Divided by the global count of learned tokens; averages of averages would differ."""
    alone = losses(folder, tmp_path / "1", 1, micro=1, **fields)
    for world in (2, 4):
        together = losses(folder, tmp_path / str(world), world, micro=1, **fields)
        assert together == pytest.approx(alone, abs=1e-5)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_stopped_run_continues_sample_exactly_on_another_number_of_processes(
    folder: Path, tmp_path: Path
) -> None:
    whole = losses(folder, tmp_path / "whole", 1, steps=4, micro=1)
    first = losses(folder, tmp_path / "parts", 2, steps=4, micro=1, stop=2, mode="shard")
    rest = losses(folder, tmp_path / "parts", 1, steps=4, micro=1)
    assert first + rest == pytest.approx(whole, abs=1e-5)
