"""Where a checkpoint comes from: a folder on this disk, or one commit of a repository of the hub.

A branch can change under a robot overnight, a commit cannot; so a revision is asked for. Only
data files are fetched: no code of a repository ever reaches this machine.
"""

from __future__ import annotations

import re
from pathlib import Path

from molmoact_ros.model.config import CheckpointError

PATTERNS = ("*.json", "*.safetensors", "*.txt", "README.md")
_REPOSITORY = re.compile(r"(?P<id>\w[\w.-]*/\w[\w.-]*)(?:@(?P<revision>[\w./-]+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def find_checkpoint(where: Path | str) -> Path:
    """The folder of ``where``: a path, or ``owner/name@commit`` of the hub (cached or fetched).

    Raises CheckpointError saying what to give instead, also without a network.
    """
    folder = Path(where)
    if folder.is_dir():
        return folder
    repository = _REPOSITORY.fullmatch(str(where))
    if repository is None or folder.is_absolute() or folder.is_file():
        raise CheckpointError(
            f"{where}: no such folder; give the folder of a MolmoAct checkpoint, or "
            "owner/name@commit"
        )
    name, revision = repository["id"], repository["revision"]
    if revision is None or not _COMMIT.fullmatch(revision):
        raise CheckpointError(
            f"{where}: no such folder, and as a repository of the hub it names no commit; give "
            f"{name}@ and the 40 digits of a commit (huggingface.co/{name}/commits/main lists them)"
        )
    return _snapshot(name, revision)


def _snapshot(name: str, revision: str) -> Path:
    # Late: a robot with a folder needs neither the package nor its look at the network.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    reason = "the network was not asked"
    for offline in (True, False):
        try:
            folder = snapshot_download(
                name,
                revision=revision,
                allow_patterns=list(PATTERNS),
                local_files_only=offline,
            )
        # The client raises its own errors, and those of its HTTP library without a network.
        except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
            reason = _first_line(error)
        else:
            # Without a network the client hands out what an interrupted download left.
            if _complete(Path(folder)):
                return Path(folder)
            reason = "only a part of it was fetched"
    raise CheckpointError(
        f"{name}@{revision} is not on this machine and cannot be fetched ({reason}); on a machine "
        f"with a network run `hf download {name} --revision {revision} --local-dir DIR` and give "
        "that folder"
    )


def _complete(folder: Path) -> bool:
    """Whether every file is there that loading needs."""
    from molmoact_ros.model.weight_files import weight_files

    try:
        weight_files(folder)
    except CheckpointError:
        return False
    return (folder / "config.json").is_file() and (folder / "tokenizer.json").is_file()


def _first_line(error: Exception) -> str:
    words = str(error).strip().splitlines()
    return (words[0] if words else type(error).__name__)[:200]
