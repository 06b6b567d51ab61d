"""The model policy: pictures and instruction through MolmoAct, its answer through the parser."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from molmoact_ros.engine.answers import AnswerShape, answer_automaton, wordings_for
from molmoact_ros.engine.grammar import AnswerGrammar, Vocabulary
from molmoact_ros.engine.greedy import Canceled, Decoded, SegmentClock, decode_greedy
from molmoact_ros.model.checkpoint import load_checkpoint
from molmoact_ros.model.config import CheckpointError
from molmoact_ros.model.prompt import prompt_ids
from molmoact_ros.policy.base import Observation, PolicyError
from molmoact_ros.reasoning.answer import AnswerContract, parse_answer
from molmoact_ros.reasoning.overlay import draw_trace
from molmoact_ros.reasoning.prompts import chat_text, check_instruction, question
from molmoact_ros.reasoning.statistics import read_statistics
from molmoact_ros.reasoning.thought import Thought, ThoughtRefused

LONGEST_SIDE = 336
"""Pixels; larger pictures are shrunk, as in the released fine-tuning data: none is tiled."""

GRIPPER_OPEN_FROM = 0.5

Pictures = tuple[NDArray[np.uint8], ...]


def open_or_closed(thought: Thought, grippers: NDArray[np.bool_]) -> Thought:
    """The thought with its gripper columns (``grippers`` [D] is True) as 1 open or 0 closed.

    The model writes bins of -1..1 in which 1 is open and 0 closed; the threshold is 0.5.
    """
    actions = thought.actions.copy()
    if actions.size:
        actions[:, grippers] = actions[:, grippers] >= GRIPPER_OPEN_FROM
    return replace(thought, actions=actions)


class MolmoActPolicy:
    """Thinks with a MolmoAct checkpoint folder of any size.

    images: pictures per prompt, 1 or 2 (external, wrist). rows: actions in a chunk. free_depth:
    the model decides how many depth codes it writes (a count that does not fit is refused) instead
    of being held to the 10x10 grid. Raises PolicyError when the folder cannot be used.
    """

    def __init__(
        self,
        checkpoint: Path | str,
        unnorm_key: str | None = None,
        images: int = 2,
        rows: int = 8,
        *,
        device: str = "cpu",
        free_depth: bool = False,
        max_new_tokens: int = 640,
    ) -> None:
        folder = Path(checkpoint)
        if not folder.is_dir():
            raise PolicyError(f"{folder}: no such folder; give the folder of a MolmoAct checkpoint")
        if images < 1:
            raise PolicyError(f"images is {images}; the model needs at least one camera")
        dtype = torch.float32 if device == "cpu" else torch.bfloat16
        try:
            self._checkpoint = load_checkpoint(folder, device, dtype)
            statistics = read_statistics(
                {"norm_stats": self._checkpoint.config.norm_stats}, unnorm_key
            )
            self._contracts = {
                steered: AnswerContract(statistics, rows, statistics.dims, steered=steered)
                for steered in (False, True)
            }
        except (CheckpointError, ValueError) as error:
            raise PolicyError(f"the checkpoint cannot be used: {error}") from error
        self._images = images
        self._free_depth = free_depth
        self._max_new_tokens = max_new_tokens
        self._vocabulary = Vocabulary(self._checkpoint.tokenizer)
        self._grammars: dict[bool, AnswerGrammar] = {}

    @property
    def description(self) -> str:
        """Folder name and the origin its README states, random weights included."""
        parameters = sum(p.numel() for p in self._checkpoint.model.parameters())
        return (
            f"MolmoAct {self._checkpoint.name} ({parameters / 1e6:.1f} M parameters), "
            f"weights: {self._checkpoint.origin}"
        )

    @property
    def needs_geometry(self) -> bool:
        """Pictures and words only."""
        return False

    def reset(self, instruction: str) -> None:
        """Nothing is remembered between thoughts; checks that the instruction can be asked."""
        try:
            check_instruction(instruction)
        except ValueError as error:
            raise PolicyError(str(error)) from error

    def think(self, observation: Observation, canceled: Callable[[], bool]) -> Thought:
        """One thought. Raises ThoughtRefused for a bad answer or a canceled goal, PolicyError
        when the model cannot be asked.
        """
        steered = observation.steering is not None and len(observation.steering) > 0
        started = time.perf_counter()
        try:
            decoded, encoded = self._answer(observation, steered, canceled)
        except Canceled as stop:
            raise ThoughtRefused(f"{stop}; start a new goal to think again") from None
        except torch.OutOfMemoryError as error:
            raise PolicyError(
                f"the graphics memory is full ({error}); close other programs on this GPU"
            ) from error
        except ValueError as error:
            raise PolicyError(f"the model could not be asked: {error}") from error
        timings = {"images": encoded, **decoded.timings}
        timings["total"] = time.perf_counter() - started
        text = self._checkpoint.tokenizer.decode(decoded.ids)
        if not decoded.ended:
            raise ThoughtRefused(
                f"the answer was not finished after {self._max_new_tokens} tokens; "
                "raise max_new_tokens",
                text,
            )
        contract = self._contracts[steered]
        thought = parse_answer(text, contract, timings)
        return open_or_closed(thought, ~contract.statistics.scaled)

    def _answer(
        self, observation: Observation, steered: bool, canceled: Callable[[], bool]
    ) -> tuple[Decoded, float]:
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
        decoded = decode_greedy(
            model,
            tokenizer.ids,
            prompt,
            features,
            grammar=self._grammar(steered),
            max_new_tokens=self._max_new_tokens,
            canceled=canceled,
            clock=SegmentClock(tokenizer.ids, self._vocabulary.bytes_of),
        )
        return decoded, encoded

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
        return tuple(shrunk(picture) for picture in pictures)

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


def shrunk(picture: NDArray[np.uint8], longest: int = LONGEST_SIDE) -> NDArray[np.uint8]:
    """RGB [H, W, 3] with no side above ``longest`` pixels, aspect kept (Lanczos); never enlarged.

    Raises ValueError for anything but uint8 [H, W, 3].
    """
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        raise ValueError(
            f"a picture is {picture.dtype} {list(picture.shape)}, expected RGB uint8 [H, W, 3]; "
            "check the camera's encoding"
        )
    height, width = picture.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return picture
    size = max(1, round(width * scale)), max(1, round(height * scale))
    image = Image.fromarray(np.ascontiguousarray(picture)).resize(size, Image.Resampling.LANCZOS)
    return np.asarray(image, dtype=np.uint8)
