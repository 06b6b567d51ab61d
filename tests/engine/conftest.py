"""Shared by the engine tests: small random networks, vocabularies, and the plain loop's answers."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pytest
import torch

from molmoact_ros.engine.answers import AnswerShape, answer_automaton
from molmoact_ros.engine.grammar import AnswerGrammar, Vocabulary
from molmoact_ros.model.checkpoint import Checkpoint, load_checkpoint
from molmoact_ros.model.config import MolmoActConfig
from molmoact_ros.model.molmoact import MolmoAct
from molmoact_ros.model.nano import nano_config, save_random_nano
from molmoact_ros.model.nano_tokenizer import build_nano_tokenizer
from molmoact_ros.model.tokenizer import MolmoActTokenizer, add_molmoact_tokens

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


@lru_cache(maxsize=1)
def _base_vocabularies() -> object:
    """The builders of released vocabularies that the model tests use."""
    path = Path(__file__).resolve().parents[1] / "model/conftest.py"
    spec = importlib.util.spec_from_file_location("engine_base_vocabularies", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@lru_cache(maxsize=3)
def _words(name: str) -> tuple[MolmoActTokenizer, Vocabulary]:
    if name == "nano":
        tokenizer = build_nano_tokenizer()
    else:
        size = {"D": 152064, "O": 100864}[name]
        builders = _base_vocabularies()
        base = builders._qwen() if name == "D" else builders._dolma()  # type: ignore[attr-defined]
        add_molmoact_tokens(base, size)
        tokenizer = MolmoActTokenizer(base, size, f"{name} vocabulary")
    return tokenizer, Vocabulary(tokenizer)


@lru_cache(maxsize=64)
def _grammar(name: str, shape: AnswerShape) -> AnswerGrammar:
    tokenizer, vocabulary = _words(name)
    return AnswerGrammar(tokenizer, answer_automaton(shape, tokenizer), vocabulary)


@pytest.fixture(scope="session")
def words() -> Callable[[str], tuple[MolmoActTokenizer, Vocabulary]]:
    """Vocabulary "nano", "D" (152,064 entries) or "O", built once."""
    return _words


@pytest.fixture(scope="session")
def grammar_of() -> Callable[[str, AnswerShape], AnswerGrammar]:
    """The grammar of a shape in a vocabulary, built once."""
    return _grammar


def _tiny_config(vocab_size: int, style: str) -> MolmoActConfig:
    base = nano_config()
    llm = replace(
        base.llm,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2 if style == "D" else 4,
        head_dim=8,
        intermediate_size=48,
        vocab_size=vocab_size,
        qkv_bias=style == "D",
        use_qk_norm=style == "O",
        norm_after=style == "O",
    )
    adapter = replace(base.adapter, text_hidden_size=32)
    return replace(base, llm=llm, adapter=adapter, image_patch_id=vocab_size + 2)


@lru_cache(maxsize=4)
def _tiny(vocab_size: int, style: str, seed: int) -> MolmoAct:
    model = MolmoAct(_tiny_config(vocab_size, style))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name or name.endswith("ln_f.weight"):
                parameter.fill_(1.0)
            elif name.endswith(".bias"):
                parameter.normal_(0.0, 0.2, generator=generator)
            else:
                fan_in = 1 if "embedding" in name else parameter.shape[-1]
                parameter.normal_(0.0, fan_in**-0.5, generator=generator)
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def tiny() -> Callable[[int, str, int], MolmoAct]:
    """A random network of 2 blocks and width 32: (vocab_size, style "D" or "O", seed)."""
    return _tiny
