"""Shared by the engine tests: the random nano checkpoint and a grammar over its vocabulary."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from molmoact_ros.engine.answers import AnswerShape, answer_automaton
from molmoact_ros.engine.grammar import AnswerGrammar
from molmoact_ros.model.checkpoint import Checkpoint, load_checkpoint
from molmoact_ros.model.nano import save_random_nano

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def nano_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nano")
    save_random_nano(folder, seed=0)
    return folder


@pytest.fixture(scope="session")
def nano(nano_folder: Path) -> Checkpoint:
    return load_checkpoint(nano_folder)


@pytest.fixture(scope="session")
def grammar(nano: Checkpoint) -> AnswerGrammar:
    """Answers to one picture, 8x7 chunk, any number of depth codes."""
    shape = AnswerShape(("single",))
    return AnswerGrammar(nano.tokenizer, answer_automaton(shape, nano.tokenizer))
