"""The model policy: pictures and instruction through MolmoAct, its answer through the parser."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from molmoact_ros.engine.answers import AnswerShape, answer_automaton, wordings_for
from molmoact_ros.engine.decode import Answer
from molmoact_ros.engine.engine import Engine
from molmoact_ros.engine.grammar import AnswerGrammar, Vocabulary
from molmoact_ros.engine.greedy import Canceled
from molmoact_ros.engine.guide import Rows
from molmoact_ros.engine.memory import DraftMemory
from molmoact_ros.engine.reader import Part
from molmoact_ros.engine.settings import Mode, settings_for
from molmoact_ros.model.checkpoint import load_checkpoint
from molmoact_ros.model.config import CheckpointError
from molmoact_ros.model.hub import find_checkpoint
from molmoact_ros.model.lora import load_adapter, merge_adapter
from molmoact_ros.model.prompt import prompt_ids
from molmoact_ros.model.weight_files import Progress
from molmoact_ros.policy.base import Observation, PolicyError, Segment
from molmoact_ros.policy.describe import describe_checkpoint
from molmoact_ros.policy.model_units import (
    LONGEST_SIDE,
    bins_of,
    open_or_closed,
    segment_of,
    shrunk,
)
from molmoact_ros.reasoning.answer import AnswerContract, parse_answer
from molmoact_ros.reasoning.overlay import draw_trace
from molmoact_ros.reasoning.prompts import chat_text, check_instruction, question
from molmoact_ros.reasoning.statistics import read_statistics
from molmoact_ros.reasoning.thought import Thought, ThoughtRefused

Pictures = tuple[NDArray[np.uint8], ...]


class MolmoActPolicy:
    """Thinks with a MolmoAct checkpoint of any size: a folder, or owner/name@commit of the hub.

    images: pictures per prompt (external, wrist, ...). rows: actions in a chunk. decoding:
    "constrained" by the grammar of answers, or "plain" as the published program: whatever the
    model writes, then judged. free_depth: the model decides how many depth codes it writes (a
    count that does not fit is refused) instead of being held to the 10x10 grid. longest_side:
    pixels to which larger pictures are shrunk; None: never, they are cut into tiles. adapter:
    folder of a LoRA fine-tuning. continue_rows: a chunk begins with the rows the arm drives while
    the model thinks (``Observation.driving``), so that it joins without a seam. ``model`` says
    what was loaded. Raises PolicyError when the checkpoint cannot be used.
    """

    def __init__(
        self,
        checkpoint: Path | str,
        unnorm_key: str | None = None,
        images: int = 2,
        rows: int = 8,
        *,
        device: str = "cpu",
        decoding: Mode = "constrained",
        free_depth: bool = False,
        max_new_tokens: int = 640,
        longest_side: int | None = LONGEST_SIDE,
        adapter: Path | str = "",
        continue_rows: bool = False,
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
            statistics = read_statistics(
                {"norm_stats": self._checkpoint.config.norm_stats}, unnorm_key
            )
            self._contracts = {
                steered: AnswerContract(statistics, rows, statistics.dims, steered=steered)
                for steered in (False, True)
            }
            name = torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu"
            settings = replace(settings_for(name, decoding), max_new_tokens=max_new_tokens)
        except (CheckpointError, ValueError) as error:
            raise PolicyError(f"the checkpoint cannot be used: {error}") from error
        self._images, self._longest_side = images, longest_side
        self._continue_rows = continue_rows
        self._free_depth, self._adapter = free_depth, Path(adapter).name if adapter else ""
        self._settings = settings
        self.model = describe_checkpoint(folder, unnorm_key, images, rows, self._checkpoint.origin)
        self._vocabulary = Vocabulary(self._checkpoint.tokenizer)
        model, tokenizer = self._checkpoint.model, self._checkpoint.tokenizer
        self._engine = Engine(model, tokenizer, settings, self._vocabulary)
        self._memory = DraftMemory()
        self._grammars: dict[bool, AnswerGrammar] = {}
        self.last_answer: Answer | None = None

    @property
    def description(self) -> str:
        """Folder name and the origin its README states, random weights included."""
        parameters = sum(p.numel() for p in self._checkpoint.model.parameters())
        adapted = f" with adapter {self._adapter}" if self._adapter else ""
        return (
            f"MolmoAct {self._checkpoint.name}{adapted} ({parameters / 1e6:.1f} M parameters), "
            f"weights: {self._checkpoint.origin}"
        )

    @property
    def needs_geometry(self) -> bool:
        """Pictures and words only."""
        return False

    def reset(self, instruction: str) -> None:
        """A goal starts: what the last one taught the engine's guesses is forgotten. Raises
        PolicyError when the instruction cannot be asked.
        """
        try:
            check_instruction(instruction)
        except ValueError as error:
            raise PolicyError(str(error)) from error
        self._memory.forget()

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
        steered = observation.steering is not None and len(observation.steering) > 0
        contract = self._contracts[steered]
        started = time.perf_counter()

        def hand_on(part: Part) -> None:
            segment = segment_of(part, contract)
            if segment is not None:
                on_segment(segment)

        try:
            answer, encoded = self._answer(observation, steered, canceled, hand_on)
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
        thought = parse_answer(text, contract, timings)
        return open_or_closed(thought, ~contract.statistics.scaled)

    def _answer(
        self,
        observation: Observation,
        steered: bool,
        canceled: Callable[[], bool],
        on_part: Callable[[Part], None],
    ) -> tuple[Answer, float]:
        started = time.perf_counter()
        model, tokenizer = self._checkpoint.model, self._checkpoint.tokenizer
        asked = chat_text(question(observation.instruction, self._images, steered))
        multi = self._images > 1
        processed = self._checkpoint.processor(self._pictures(observation), multi=multi)
        prompt = prompt_ids(tokenizer, asked, processed.kinds, multi=multi)
        with torch.inference_mode():
            features = model.encode_images(
                torch.from_numpy(processed.crops),
                torch.from_numpy(processed.pooled_patches).long(),
                same_as=torch.from_numpy(processed.same_as),
            )
        encoded = time.perf_counter() - started
        first_rows: Rows = ()
        if observation.driving is not None:
            self._memory.executed(observation.driving.executed)
            if self._continue_rows and self._settings.mode != "plain":
                first_rows = bins_of(observation.driving.ahead, self._contracts[steered])
        answer = self._engine.answer(
            prompt,
            features,
            None if self._settings.mode == "plain" else self._grammar(steered),
            memory=self._memory,
            first_rows=first_rows,
            on_part=on_part,
            canceled=canceled,
        )
        return answer, encoded

    def _pictures(self, observation: Observation) -> Pictures:
        pictures = observation.images[: self._images]
        if len(pictures) < self._images:
            raise ValueError(
                f"{len(pictures)} of {self._images} pictures arrived; check the cameras or set "
                "images to the number there is"
            )
        if observation.steering is not None and len(observation.steering):
            # Drawn before shrinking: that is where the training pictures were drawn on.
            pictures = (draw_trace(pictures[0], observation.steering), *pictures[1:])
        if self._longest_side is None:
            return pictures
        side = self._longest_side
        return tuple(shrunk(picture, side) for picture in pictures)

    def _grammar(self, steered: bool) -> AnswerGrammar:
        if steered not in self._grammars:
            contract, tokenizer = self._contracts[steered], self._checkpoint.tokenizer
            shape = AnswerShape(
                wordings_for(self._images, steered),
                rows=contract.rows,
                dims=contract.dims,
                depth_codes=None if self._free_depth else contract.depth_codes,
            )
            automaton = answer_automaton(shape, tokenizer)
            self._grammars[steered] = AnswerGrammar(tokenizer, automaton, self._vocabulary)
        return self._grammars[steered]
