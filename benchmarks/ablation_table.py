"""The table of an ablation: success by family for every way of asking.

    python benchmarks/ablation_table.py OUT/scores --steps 1000

``benchmarks/ablation.sh`` makes the scores and calls this; rows with a name that begins with
``start`` are the weights that all three began from. Latency in rows of 1/15 s is the same for all,
so a shorter thought is no advantage here.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from molmoact_ros.evals.table import share_of

ROWS = ("reasoning", "actions", "drawn", "start-reasoning", "start-actions", "start-drawn")
RESULTS = Path(__file__).parent / "results" / "ablation.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("scores", type=Path, help="folder of ablation.sh's scores")
    parser.add_argument("--steps", type=int, required=True, help="training steps of each")
    values = parser.parse_args()
    found = {}
    for name in ROWS:
        path = values.scores / name / "results.json"
        if path.is_file():
            found[name] = json.loads(path.read_text(encoding="utf-8"))["trials"]
    if not found:
        sys.exit(f"{values.scores}: no scores; benchmarks/ablation.sh makes them")
    families = list(dict.fromkeys(row["family"] for rows in found.values() for row in rows))
    print(f"{'':<17}" + "".join(f"{family:>20}" for family in [*families, "all"]))
    for name, rows in found.items():
        parts = [[row for row in rows if row["family"] == family] for family in families]
        print(f"{name:<17}" + "".join(f"{_cell(part):>20}" for part in [*parts, rows]))
    kept = {name: [_short(row) for row in rows] for name, rows in found.items()}
    document = {"steps": values.steps, "trials": kept}
    RESULTS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(f"written: {RESULTS}")


def _cell(rows: list[dict[str, Any]]) -> str:
    share = share_of(row["success"] for row in rows)
    return f"{share!s} {share.interval}"


def _short(row: dict[str, Any]) -> dict[str, Any]:
    return {key: row[key] for key in ("family", "seed", "success", "seconds", "thoughts")}


if __name__ == "__main__":
    main()
