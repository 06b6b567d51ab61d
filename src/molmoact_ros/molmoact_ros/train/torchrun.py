"""``python -m molmoact_ros.train.torchrun --nproc-per-node=8 -m molmoact_ros.cli train ...``

torchrun for whoever watches it: a SIGTERM is an end in order, as it is of one process, and what a
process says last is not followed by reports about it.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

from torch.distributed import run
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError


def main(words: Sequence[str]) -> int:
    """The exit status: 0, or that of the process that failed first."""
    logging.disable(logging.CRITICAL)
    try:
        run.main(["--standalone", *words])
    except SignalException:
        return 0
    except ChildFailedError as error:
        return error.get_first_failure()[1].exitcode
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
