"""Labelling speed: seconds of recording labelled in a second of one core.

    ./run shell python benchmarks/training_bags.py BAGS      (once: makes bags, 7 minutes)
    ./run shell python benchmarks/labelling.py BAGS

Runs ``molmoact label`` in one process with one thread and divides the length of the bags by
the processor time it took, start of Python included: resampling, traces by measured poses and
calibration, measured depth through the VQ-VAE (an estimator's time would come on top), rules,
statistics, parquet and JPEG. Writes benchmarks/results/labelling.json.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from molmoact_ros.bags.metadata import FILE, KEY
from molmoact_ros.data.bag_source import find_bags

RESULTS = Path(__file__).parent / "results" / "labelling.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bags", type=Path, help="a bag, or a folder with bags below it")
    parser.add_argument("--count", type=int, default=10, help="label so many of them")
    values = parser.parse_args()
    bags = find_bags(values.bags)[: values.count]
    if not bags:
        sys.exit(f"{values.bags}: no bags; benchmarks/training_bags.py makes some")
    with tempfile.TemporaryDirectory(prefix="labelling_") as folder:
        began = time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "molmoact_ros.cli", "label", *map(str, bags), "--out", folder,
             "--jobs", "1", "--set", 'name="molmoact_ros_sim"'],
            check=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        wall = time.monotonic() - began
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    core = used.ru_utime + used.ru_stime
    recorded = sum(_seconds(bag) for bag in bags)
    found = {
        "bags": len(bags),
        "recorded_s": round(recorded, 1),
        "core_s": round(core, 1),
        "wall_s": round(wall, 1),
        "times_real_time_per_core": round(recorded / core, 2),
    }
    print(json.dumps(found, indent=1))
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _seconds(bag: Path) -> float:
    """Length of a bag by its metadata.yaml."""
    information = yaml.safe_load((bag / FILE).read_text(encoding="utf-8"))[KEY]
    return float(information["duration"]["nanoseconds"]) * 1e-9


if __name__ == "__main__":
    main()
