"""Folders of models that transformers reads by itself: checked, and put on a device."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from molmoact_ros.data.rows import BadData


class BadModel(BadData):
    """A model that cannot be used for labelling; says what was found and what to do."""


def config_of(folder: Path, wanted: str) -> dict[str, Any]:
    """What its config.json says. Raises FileNotFoundError or BadModel; ``wanted`` names a model."""
    path = folder / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder}: no config.json; download {wanted} and give its folder")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BadModel(f"{path}: {error}; download {wanted} again") from error
    if not isinstance(found, dict):
        raise BadModel(f"{path}: no fields with values; download {wanted} again")
    return found


def device_of(asked: str) -> str:
    """``asked``, or CUDA where there is one. Raises BadModel for a GPU that is not there."""
    found = "cuda" if torch.cuda.is_available() else "cpu"
    if asked.startswith("cuda") and found == "cpu":
        raise BadModel(f"--device {asked}: PyTorch finds no CUDA here; use cpu or another computer")
    return asked or found
