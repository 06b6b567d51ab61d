"""Memory and time of loading a checkpoint of released size, in a process of its own.

``python benchmarks/loading.py --folder DIR [--config 7b-d] [--convert float16] [--out FILE]``

Writes random weights to DIR (unless they are there), loads them, reads every number once and
reports the largest resident memory of each step. ``--convert`` loads in another precision, which
copies; without it the weights stay mapped. The shards are deleted at the end unless ``--keep``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

LIMIT_GIB = 17.0

CHILD = """
import json, sys, time
from pathlib import Path
import torch
from molmoact_ros.model.checkpoint import load_model
from molmoact_ros.model.config import load_config

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(l.split()[1]) for l in lines if l.startswith("VmHWM")) / 2**20

folder, dtype = Path(sys.argv[1]), getattr(torch, sys.argv[2]) if sys.argv[2] else None
steps = {"before_gib": peak()}
began = time.perf_counter()
model = load_model(folder, load_config(folder), dtype=dtype)
steps |= {"load_s": time.perf_counter() - began, "loaded_gib": peak()}
began, total = time.perf_counter(), 0.0
for parameter in model.parameters():
    for rows in parameter.split(4096):
        total += float(rows.float().square().sum())
steps |= {"read_all_s": time.perf_counter() - began, "read_all_gib": peak()}
steps["parameters"] = sum(p.numel() for p in model.parameters())
steps["dtype"] = str(model.dtype)
assert total > 0
print(json.dumps(steps))
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--config", default="7b-d")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--convert", default="", help="precision, for example float16")
    parser.add_argument("--out", type=Path, help="add the numbers to this JSON file")
    parser.add_argument("--keep", action="store_true")
    values = parser.parse_args()
    result: dict[str, object] = {
        "config": values.config,
        "convert": values.convert,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "load_average": os.getloadavg()[0],
        "limit_gib": LIMIT_GIB,
    }
    if not values.folder.exists():
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "molmoact_ros.cli", "random-checkpoint"]
            + ["--config", values.config, "--out", str(values.folder)],
            check=True,
        )
        result["write_s"] = round(time.perf_counter() - began, 1)
    files = sorted(values.folder.glob("*.safetensors"))
    result["shards"] = len(files)
    result["file_gib"] = round(sum(path.stat().st_size for path in files) / 2**30, 2)
    command = [sys.executable, "-c", CHILD, str(values.folder), values.convert]
    child = subprocess.run(command, check=True, capture_output=True, text=True)
    steps = json.loads(child.stdout)
    result |= {k: round(v, 2) if isinstance(v, float) else v for k, v in steps.items()}
    if not values.keep:
        shutil.rmtree(values.folder)
    print(json.dumps(result, indent=1))
    if values.out is not None:
        known = json.loads(values.out.read_text()) if values.out.exists() else []
        values.out.write_text(json.dumps([*known, result], indent=1) + "\n")
    return 0 if steps["read_all_gib"] <= LIMIT_GIB else 1


if __name__ == "__main__":
    sys.exit(main())
