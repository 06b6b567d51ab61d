"""Where an episode comes from, as flat text that every reader of the bag can show."""

from __future__ import annotations

import datetime
import hashlib
import json
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path


@dataclass(frozen=True)
class Provenance:
    """Empty text: not known. Digests are the first 16 hexadecimal digits of SHA-256.

    model: name, revision and origin of the weights, as the policy says it. prompt: the words the
    model is asked with. calibration: digest of all camera infos and static transforms, which are
    in the bag themselves. urdf: digest of the robot description. software, commit: of this project.
    """

    episode_id: str = ""
    task: str = ""
    operator: str = ""
    scene: str = ""
    model: str = ""
    prompt: str = ""
    calibration: str = ""
    urdf: str = ""
    robot: str = ""
    software: str = ""
    commit: str = ""
    started: str = ""

    def values(self) -> dict[str, str]:
        """Only what is known."""
        return {name: str(value) for name, value in asdict(self).items() if value}


def digest(*parts: bytes | str) -> str:
    """Digest of parts in any order; empty when there are none."""
    if not parts:
        return ""
    whole = hashlib.sha256()
    for part in sorted(p.encode() if isinstance(p, str) else p for p in parts):
        whole.update(len(part).to_bytes(8, "little") + part)
    return whole.hexdigest()[:16]


def software() -> dict[str, str]:
    """software, commit and started (UTC) of an episode that begins now."""
    now = datetime.datetime.now(datetime.timezone.utc)
    return {
        "software": software_version(),
        "commit": software_commit(),
        "started": now.isoformat(timespec="seconds"),
    }


def software_version() -> str:
    """Version of the installed package; "source" when it runs from a checkout."""
    try:
        return metadata.version("molmoact_ros")
    except metadata.PackageNotFoundError:
        return "source"


@lru_cache(maxsize=1)
def software_commit(folder: Path | None = None) -> str:
    """Commit of the checkout this file lies in, with "+changes" when it was edited; else empty."""
    where = folder or Path(__file__).resolve().parent
    commit = _git(where, "rev-parse", "HEAD")
    if not commit:
        return ""
    changed = _git(where, "status", "--porcelain", "--untracked-files=no")
    return commit[:12] + ("+changes" if changed else "")


def _git(folder: Path, *words: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words],
            capture_output=True,
            text=True,
            timeout=5.0,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def differences(a: Mapping[str, str], b: Mapping[str, str]) -> list[str]:
    """Names of values that two episodes disagree in and that change what can be learned."""
    names = ("model", "calibration", "urdf", "robot", "prompt")
    return [name for name in names if a.get(name, "") != b.get(name, "")]


def as_json(values: Mapping[str, str]) -> str:
    return json.dumps(dict(values), ensure_ascii=False, sort_keys=True)
