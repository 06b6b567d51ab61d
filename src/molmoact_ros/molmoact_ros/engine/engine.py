"""The engine: one model, one vocabulary, any number of robots that think one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from molmoact_ros.engine.decode import Answer, Decoding
from molmoact_ros.engine.grammar import AnswerGrammar, Vocabulary
from molmoact_ros.engine.guide import Guide, Rows
from molmoact_ros.engine.heads import FullHead, Head, LegalHead, Script
from molmoact_ros.engine.memory import DraftMemory
from molmoact_ros.engine.network import TorchNetwork
from molmoact_ros.engine.reader import AnswerReader, Part
from molmoact_ros.engine.settings import EngineSettings
from molmoact_ros.engine.spelling import Speller
from molmoact_ros.model.molmoact import MolmoAct
from molmoact_ros.model.tokenizer import MolmoActTokenizer


class Engine:
    """Decodes answers. One thought at a time; the robots' memories are the callers'."""

    def __init__(
        self,
        model: MolmoAct,
        tokenizer: MolmoActTokenizer,
        settings: EngineSettings,
        vocabulary: Vocabulary | None = None,
    ) -> None:
        self.settings = settings
        self._model = model
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary if vocabulary is not None else Vocabulary(tokenizer)
        self._guides: dict[int, Guide] = {}
        self._heads: dict[int, Head] = {}
        self._grammars: dict[int, AnswerGrammar] = {}
        self._network = TorchNetwork(model, settings)

    def answer(
        self,
        prompt: Sequence[int],
        features: torch.Tensor | None,
        grammar: AnswerGrammar | None,
        *,
        memory: DraftMemory | None = None,
        first_rows: Rows = (),
        on_part: Callable[[Part], None] = lambda part: None,
        canceled: Callable[[], bool] = lambda: False,
        bias: Script | None = None,
    ) -> Answer:
        """Answer ``prompt`` (ids, BOS first) whose pictures are ``features`` [N, hidden].

        grammar: what answers look like; plain mode does without. memory: what the robot's last
        thought suggests; it learns from this answer. first_rows: bins of the action rows the answer
        begins with, because the robot drives them meanwhile (not in plain mode). on_part: called
        with every depth map, trace and row as soon as it is certain, in this thread. bias:
        scripted logits for measurements.

        Raises Canceled (asked before every forward), and ValueError when prompt and features do
        not match, the context window is too short, a grammar is missing, or first_rows do not
        fit into a chunk.
        """
        mode = self.settings.mode
        if grammar is None and mode != "plain":
            raise ValueError(f"{mode} decoding needs a grammar; give one or choose plain")
        memory = memory if memory is not None else DraftMemory()
        reader = AnswerReader(self._tokenizer.ids, self._vocabulary.bytes_of)
        guide = None if grammar is None or mode == "plain" else self._guide(grammar)
        if first_rows and guide is None:
            raise ValueError("first_rows need a grammar; choose constrained or strict decoding")
        guide = guide.prefixed(first_rows) if guide is not None and first_rows else guide
        self._network.head = self._head(grammar)
        self._network.head.script(bias)
        decoding = Decoding(
            self._network, self.settings, guide, reader, memory,
            self._tokenizer.ids.eos, on_part, canceled,
        )  # fmt: skip
        found = decoding.run(prompt, features)
        if found.ended:
            memory.learn(reader)
        return found

    def _guide(self, grammar: AnswerGrammar) -> Guide:
        key = id(grammar)
        if key not in self._guides:
            speller = Speller(self._tokenizer, grammar, self._vocabulary.bytes_of)
            self._guides[key] = Guide(grammar, speller, self._tokenizer.ids)
            self._grammars[key] = grammar
        return self._guides[key]

    def _head(self, grammar: AnswerGrammar | None) -> Head:
        key = id(grammar) if grammar is not None and self.settings.mode == "constrained" else 0
        if key not in self._heads:
            if key and grammar is not None:
                self._grammars[key] = grammar  # kept alive: its id stays its own
                self._heads[key] = LegalHead(self._model, grammar)
            else:
                self._heads[key] = FullHead(self._model)
        return self._heads[key]
