"""Started by torchrun in a test: trains a few steps and writes the losses. Not a test itself."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import torch

from molmoact_ros.train.loop import Trainer
from molmoact_ros.train.processes import join_world, leave_world

sys.path.insert(0, str(Path(__file__).parent))
from train_helpers import small_recipe, source_of


def main() -> None:
    folder, out = Path(sys.argv[1]), Path(sys.argv[2])
    fields = json.loads(sys.argv[3])
    stop = fields.pop("stop", 0)
    torch.set_num_threads(1)
    world = join_world("cpu")
    source = source_of(folder, small_recipe(**fields))

    class Stop:
        def step(self, step: int, _values: object) -> bool:
            return not stop or step < stop

    outcome = Trainer(replace(source), out, world, Stop()).run()
    if world.first:
        (out / "losses.json").write_text(json.dumps(outcome.losses))
    leave_world(world)


if __name__ == "__main__":
    main()
