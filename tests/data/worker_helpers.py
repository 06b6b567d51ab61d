"""What worker processes do in the tests; they import this file by its name."""

from __future__ import annotations

import os


def double(number: int) -> int:
    """3 kills its process as the kernel would."""
    if number == 3:
        os._exit(9)
    return 2 * number
