"""Point the ROS wheels' CMake files at this Python instead of their build machine's.

The wheels export absolute paths of the manylinux image they were built in
(``/opt/python/cp311-cp311/...``); CMake then finds no headers and colcon fails.
Running it twice changes nothing.
"""

from __future__ import annotations

import re
import sys
import sysconfig
from pathlib import Path

SUFFIXES = {".cmake", ".txt", ".in", ".sh", ".py", ".pc"}
# Longest first: the include folder also starts with the bare prefix.
_ROOT = r"/opt/python/cp3\d+-cp3\d+"


def replacements() -> list[tuple[re.Pattern[str], str]]:
    """Patterns of the build machine's folders and what stands for them here."""
    paths = sysconfig.get_paths()
    return [
        (re.compile(_ROOT + r"/include/python3\.\d+"), paths["include"]),
        (re.compile(_ROOT + r"/lib/python3\.\d+/site-packages"), paths["purelib"]),
        (re.compile(_ROOT + r"/bin/python3?(\.\d+)?"), sys.executable),
    ]


def mend(root: Path) -> int:
    """Rewrite every text file below ``root``; returns how many changed."""
    rules = replacements()
    changed = 0
    for path in sorted(root.rglob("*")):
        if path.suffix not in SUFFIXES or path.is_symlink() or not path.is_file():
            continue
        before = path.read_text(encoding="utf-8", errors="surrogateescape")
        after = before
        for pattern, here in rules:
            # A function, so that a backslash in a path is not read as a group.
            after = pattern.sub(lambda _match, here=here: here, after)
        if after != before:
            path.write_text(after, encoding="utf-8", errors="surrogateescape")
            changed += 1
    return changed


if __name__ == "__main__":
    count = mend(Path(sys.prefix) / "share")
    sys.stdout.write(f"mended {count} CMake files of the ROS wheels\n")
