"""Started twice by a test: one of two processes that train together. Not a test itself."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
from vqvae_helpers import TOGETHER, run_of

from molmoact_ros.train.processes import join_world, leave_world


def main() -> None:
    maps, out = Path(sys.argv[1]), Path(sys.argv[2])
    torch.set_num_threads(1)
    world = join_world("cpu")
    ended = run_of(maps, out, TOGETHER, world).run()
    if world.first:
        (out / "losses.json").write_text(json.dumps(ended.losses))
    leave_world(world)


if __name__ == "__main__":
    main()
