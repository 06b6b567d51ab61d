"""``molmoact train`` for a test, telling which samples are read. Not a test itself.

The arguments are those of the command; SEEN names a folder for one file a process.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from molmoact_ros.cli import main
from molmoact_ros.train.packing import Packed
from molmoact_ros.train.samples import Sample
from molmoact_ros.train.stream import Visits

_read = Visits.__getitem__


def told(self: Visits, position: int) -> Sample | Packed:
    """As it was, and a line: position, data set, item and the first numbers of the sample."""
    sample = _read(self, position)
    set_, item = self.order.at(position)
    numbers = [int(sample.ids.sum()), round(float(sample.crops.sum()), 2)]
    seen = Path(os.environ["SEEN"])
    seen.mkdir(parents=True, exist_ok=True)
    with (seen / f"{os.getpid()}.txt").open("a", encoding="utf-8") as lines:
        lines.write(f"{position} {set_} {item} {sample.kind} {numbers}\n")
    # Time for the test to interrupt.
    time.sleep(float(os.environ.get("SLOWLY", "0")))
    return sample


if __name__ == "__main__":
    Visits.__getitem__ = told  # type: ignore[method-assign]
    sys.exit(main(sys.argv[1:]))
