"""The model policy: pictures and instruction through MolmoAct, its answer through the parser."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from molmoact_ros.engine.decode import Answer
from molmoact_ros.engine.engine import Engine
from molmoact_ros.engine.grammar import Vocabulary
from molmoact_ros.engine.greedy import Canceled
from molmoact_ros.engine.guide import Rows
from molmoact_ros.engine.memory import DraftMemory
from molmoact_ros.engine.quantize import Quantization, QuantizationError, quantize_weights
from molmoact_ros.engine.reader import Part
from molmoact_ros.engine.settings import Mode, settings_for
from molmoact_ros.model.checkpoint import load_checkpoint
from molmoact_ros.model.config import CheckpointError
from molmoact_ros.model.hub import find_checkpoint
from molmoact_ros.model.lora import load_adapter, merge_adapter
from molmoact_ros.model.weight_files import Progress
from molmoact_ros.policy.base import Observation, PolicyError, Segment
from molmoact_ros.policy.describe import describe_checkpoint, rows_of
from molmoact_ros.policy.model_units import bins_of, open_or_closed, segment_of
from molmoact_ros.policy.questions import Questions, drawn_on
from molmoact_ros.policy.view import LONGEST_SIDE, view_of
from molmoact_ros.reasoning.answer import AnswerContract, parse_answer
from molmoact_ros.reasoning.prompts import check_instruction
from molmoact_ros.reasoning.statistics import read_statistics
from molmoact_ros.reasoning.thought import Thought, ThoughtRefused


class MolmoActPolicy:
    """Thinks with a MolmoAct checkpoint of any size: a folder, or owner/name@commit of the hub.

    images: pictures per prompt (external, wrist, ...). rows: actions in a chunk; None: what the
    checkpoint's card says, 8 without one. The card (``describe``) also says what of the pictures
    is seen and whether answers hold depth and trace. decoding:
    "constrained" by the grammar of answers, or "plain" as the published program: whatever the
    model writes, then judged. free_depth: the model decides how many depth codes it writes (a
    count that does not fit is refused) instead of being held to the 10x10 grid. longest_side:
    pixels to which larger pictures are shrunk; None: to the card's size only, larger ones are cut
    into tiles. adapter:
    folder of a LoRA fine-tuning. continue_rows: a chunk begins with the rows the arm drives while
    the model thinks (``Observation.driving``), so that it joins without a seam. quantize: fewer
    bytes a weight, not exact, see ``engine.quantize``. prepares: make every picture ready in a
    thread while the last thought is decoded; None: not on a CPU, where one picture in five is
    looked at and the others would cost the thought its core. ``model`` says what was loaded. Raises
    PolicyError when the checkpoint cannot be used.
    """

    def __init__(
        self,
        checkpoint: Path | str,
        unnorm_key: str | None = None,
        images: int = 2,
        rows: int | None = None,
        *,
        device: str = "cpu",
        decoding: Mode = "constrained",
        free_depth: bool = False,
        max_new_tokens: int = 640,
        longest_side: int | None = LONGEST_SIDE,
        adapter: Path | str = "",
        continue_rows: bool = False,
        quantize: Quantization | None = None,
        prepares: bool | None = None,
        progress: Progress | None = None,
    ) -> None:
        if images < 1:
            raise PolicyError(f"images is {images}; the model needs at least one camera")
        dtype = torch.float32 if device == "cpu" else torch.bfloat16
        try:
            folder = find_checkpoint(checkpoint)
            self._checkpoint = load_checkpoint(folder, device, dtype, progress=progress)
            if adapter:
                merge_adapter(self._checkpoint.model, load_adapter(Path(adapter)))
            if quantize:
                quantize_weights(self._checkpoint.model, quantize)
            statistics = read_statistics(
                {"norm_stats": self._checkpoint.config.norm_stats}, unnorm_key
            )
            card = statistics.card
            contract = AnswerContract(
                statistics,
                rows_of(card) if rows is None else rows,
                statistics.dims,
                depth_required=card.get("depth_source") != "none",
            )
            self._view = view_of(card, longest_side)
            name = torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu"
            settings = replace(settings_for(name, decoding), max_new_tokens=max_new_tokens)
        except (CheckpointError, QuantizationError, ValueError) as error:
            raise PolicyError(f"the checkpoint cannot be used: {error}") from error
        self._continue_rows, self._settings = continue_rows, settings
        self._prepares = device != "cpu" if prepares is None else prepares
        self._adapter = Path(adapter).name if adapter else ""
        self.model = describe_checkpoint(folder, unnorm_key, images, rows, self._checkpoint.origin)
        model, tokenizer = self._checkpoint.model, self._checkpoint.tokenizer
        vocabulary = Vocabulary(tokenizer)
        self._questions = Questions(
            self._checkpoint,
            vocabulary,
            contract,
            images,
            self._view,
            free_depth,
            traces=card.get("trace_source") != "none",
        )
        self._engine = Engine(model, tokenizer, settings, vocabulary)
        self._quantized = f", {quantize} weights: NOT exact" if quantize else ""
        self._memory = DraftMemory()
        self.last_answer: Answer | None = None

    @property
    def description(self) -> str:
        """Folder name and the origin its README states, random weights included."""
        parameters = sum(p.numel() for p in self._checkpoint.model.parameters())
        adapted = f" with adapter {self._adapter}" if self._adapter else ""
        return (
            f"MolmoAct {self._checkpoint.name}{adapted} ({parameters / 1e6:.1f} M parameters), "
            f"weights: {self._checkpoint.origin}{self._quantized}"
        )

    @property
    def needs_geometry(self) -> bool:
        """Pictures and words only."""
        return False

    @property
    def codebook(self) -> str:
        """That of the checkpoint."""
        return self.model.codebook

    def reset(self, instruction: str) -> None:
        """A goal starts: what the last one taught the engine's guesses is forgotten. Raises
        PolicyError when the instruction cannot be asked.
        """
        try:
            check_instruction(instruction)
        except ValueError as error:
            raise PolicyError(str(error)) from error
        self._memory.forget()

    def asked(self, observation: Observation) -> str:
        """The question in words. Raises BadInstruction."""
        return self._questions.words(observation)

    def prepare(self, observation: Observation) -> None:
        """See PreparingPolicy."""
        if self._prepares:
            self._questions.prepare(observation)

    def close(self) -> None:
        """End the thread that prepares pictures."""
        self._questions.close()

    def think(self, observation: Observation, canceled: Callable[[], bool]) -> Thought:
        """One thought. Raises ThoughtRefused for a bad answer or a canceled goal, PolicyError
        when the model cannot be asked.
        """
        return self.think_streaming(observation, canceled, lambda segment: None)

    def think_streaming(
        self,
        observation: Observation,
        canceled: Callable[[], bool],
        on_segment: Callable[[Segment], None],
    ) -> Thought:
        """As ``think``; ``on_segment`` hears of depth, trace and rows as they are decoded."""
        contract = self._questions.contract(self._questions.actions_only(observation))
        started = time.perf_counter()

        def hand_on(part: Part) -> None:
            segment = segment_of(part, contract)
            if segment is not None:
                on_segment(self._in_whole_picture(segment))

        try:
            answer, encoded = self._answer(observation, canceled, hand_on)
        except Canceled as stop:
            raise ThoughtRefused(f"{stop}; start a new goal to think again") from None
        except torch.OutOfMemoryError as error:
            raise PolicyError(
                f"the graphics memory is full ({error}); close other programs on this GPU"
            ) from error
        except ValueError as error:
            raise PolicyError(f"the model could not be asked: {error}") from error
        self.last_answer = answer
        timings = {"images": encoded, **answer.timings}
        timings["total"] = time.perf_counter() - started
        text = self._checkpoint.tokenizer.decode(answer.ids)
        if not answer.ended:
            raise ThoughtRefused(
                f"the answer was not finished after {self._settings.max_new_tokens} tokens; "
                "raise max_new_tokens",
                text,
            )
        thought = open_or_closed(parse_answer(text, contract, timings), ~contract.statistics.scaled)
        trace = self._view.in_whole_picture(thought.trace)
        return replace(thought, trace=trace, steered=drawn_on(observation))

    def _in_whole_picture(self, segment: Segment) -> Segment:
        if segment.kind != "trace":
            return segment
        points = np.asarray(segment.values, np.float32)
        return replace(segment, values=self._view.in_whole_picture(points))

    def _answer(
        self,
        observation: Observation,
        canceled: Callable[[], bool],
        on_part: Callable[[Part], None],
    ) -> tuple[Answer, float]:
        started, steered = time.perf_counter(), self._questions.actions_only(observation)
        prompt, features = self._questions.ask(observation)
        encoded = time.perf_counter() - started
        plain = self._settings.mode == "plain"
        first_rows: Rows = ()
        if observation.driving is not None:
            self._memory.executed(observation.driving.executed)
            if self._continue_rows and not plain:
                contract = self._questions.contract(steered)
                first_rows = bins_of(observation.driving.ahead, contract)
        answer = self._engine.answer(
            prompt,
            features,
            None if plain else self._questions.grammar(steered),
            memory=self._memory,
            first_rows=first_rows,
            on_part=on_part,
            canceled=canceled,
        )
        return answer, encoded
