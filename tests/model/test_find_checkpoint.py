"""A model is a folder or one commit of the hub; anything else is told what to give instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from molmoact_ros.model.config import CheckpointError
from molmoact_ros.model.hub import PATTERNS, find_checkpoint

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAME = "allenai/MolmoAct-7B-D-0812"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, and no network: what a robot in a laboratory has."""
    from huggingface_hub import constants, file_download

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert file_download is not None
    return tmp_path


def snapshot(cache: Path, *names: str) -> Path:
    folder = cache / f"models--{NAME.replace('/', '--')}/snapshots/{COMMIT}"
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_text("{}")
    return folder


def test_a_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    assert find_checkpoint(str(tmp_path)) == tmp_path


@pytest.mark.parametrize("where", ["/no/such/folder", "no such folder", "a/b/c", "", "../x"])
def test_what_is_neither_is_told_both_forms(where: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    if where:
        with pytest.raises(CheckpointError, match=r"no such folder.*owner/name@"):
            find_checkpoint(where)
    else:
        assert find_checkpoint(where) == Path()


@pytest.mark.parametrize("revision", ["", "@main", "@v1.0", "@0123456", f"@{COMMIT[:-1]}"])
def test_only_a_commit_pins_a_model(revision: str) -> None:
    """A branch may hold other weights tomorrow, and nobody at the robot would know."""
    with pytest.raises(CheckpointError, match=f"give {NAME}@ and the 40 digits of a commit"):
        find_checkpoint(NAME + revision)


def test_a_commit_in_the_cache_needs_no_network(cache: Path) -> None:
    folder = snapshot(cache, "config.json", "tokenizer.json", "model.safetensors")
    assert find_checkpoint(f"{NAME}@{COMMIT}") == folder


@pytest.mark.parametrize("names", [(), ("config.json",), ("config.json", "tokenizer.json")])
def test_without_network_an_incomplete_cache_says_how_to_bring_the_files(
    cache: Path, names: tuple[str, ...]
) -> None:
    snapshot(cache, *names)
    with pytest.raises(CheckpointError, match=f"hf download {NAME} --revision {COMMIT}"):
        path = find_checkpoint(f"{NAME}@{COMMIT}")
        pytest.fail(f"{path} was taken for a checkpoint")


def test_no_code_is_ever_fetched() -> None:
    assert not [pattern for pattern in PATTERNS if pattern in ("*", "*.*") or "py" in pattern]
