"""What a model is asked about an observation, and what its answer has to look like."""

from __future__ import annotations

import torch

from molmoact_ros.engine.ahead import Ahead
from molmoact_ros.engine.answers import AnswerShape, answer_automaton, wordings_for
from molmoact_ros.engine.grammar import AnswerGrammar, Vocabulary
from molmoact_ros.model.checkpoint import Checkpoint
from molmoact_ros.model.image_processor import ProcessedImages
from molmoact_ros.model.prompt import prompt_ids
from molmoact_ros.policy.base import Observation
from molmoact_ros.policy.view import Pictures, View
from molmoact_ros.reasoning.answer import AnswerContract
from molmoact_ros.reasoning.prompts import chat_text, question


class Questions:
    """The questions of one checkpoint to ``images`` pictures.

    contract: of a full answer; without depth_required, depth is neither asked nor allowed. view:
    how pictures are shown. free_depth: the number of depth codes is the model's choice. traces:
    False for a model that was taught actions only; every question is the steering question then.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        vocabulary: Vocabulary,
        contract: AnswerContract,
        images: int,
        view: View,
        free_depth: bool = False,
        traces: bool = True,
    ) -> None:
        self._checkpoint, self._vocabulary = checkpoint, vocabulary
        self._images, self._view = images, view
        self._free_depth, self._traces = free_depth, traces
        statistics, rows, dims = contract.statistics, contract.rows, contract.dims
        self._contracts = {
            False: contract,
            True: AnswerContract(statistics, rows, dims, steered=True),
        }
        self._grammars: dict[bool, AnswerGrammar] = {}
        self._ahead: Ahead[ProcessedImages] = Ahead()

    def actions_only(self, observation: Observation) -> bool:
        """Whether the answer holds neither depth nor trace."""
        return drawn_on(observation) or not self._traces

    def words(self, observation: Observation) -> str:
        """The question. Raises BadInstruction."""
        depth = self._contracts[False].depth_required
        steered = self.actions_only(observation)
        return question(observation.instruction, self._images, steered, depth)

    def contract(self, steered: bool) -> AnswerContract:
        """What an answer must hold."""
        return self._contracts[steered]

    def grammar(self, steered: bool) -> AnswerGrammar:
        """What an answer may be written like; made once, which takes a moment."""
        if steered not in self._grammars:
            contract, tokenizer = self._contracts[steered], self._checkpoint.tokenizer
            shape = AnswerShape(
                wordings_for(self._images, steered),
                rows=contract.rows,
                dims=contract.dims,
                depth_codes=None if self._free_depth else contract.depth_codes,
                depth=contract.depth_required,
            )
            automaton = answer_automaton(shape, tokenizer)
            self._grammars[steered] = AnswerGrammar(tokenizer, automaton, self._vocabulary)
        return self._grammars[steered]

    def prepare(self, observation: Observation) -> None:
        """Make its pictures ready in a thread. A path drawn later makes them again."""
        if len(observation.images) >= self._images and not drawn_on(observation):
            self._ahead.begin(_same(observation), lambda: self._processed(observation))

    def ask(self, observation: Observation) -> tuple[list[int], torch.Tensor]:
        """Prompt ids and image features [N, hidden]. Raises ValueError for missing pictures."""
        model, asked = self._checkpoint.model, chat_text(self.words(observation))
        processed = self._ahead.take(_same(observation), lambda: self._processed(observation))
        prompt = prompt_ids(
            self._checkpoint.tokenizer, asked, processed.kinds, multi=self._images > 1
        )
        with torch.inference_mode():
            features = model.encode_images(
                torch.from_numpy(processed.crops),
                torch.from_numpy(processed.pooled_patches).long(),
                same_as=torch.from_numpy(processed.same_as),
            )
        return prompt, features

    def close(self) -> None:
        """End the thread that prepares pictures."""
        self._ahead.close()

    def _processed(self, observation: Observation) -> ProcessedImages:
        return self._checkpoint.processor(self._pictures(observation), multi=self._images > 1)

    def _pictures(self, observation: Observation) -> Pictures:
        pictures = observation.images[: self._images]
        if len(pictures) < self._images:
            raise ValueError(
                f"{len(pictures)} of {self._images} pictures arrived; check the cameras or set "
                "images to the number there is"
            )
        return self._view.seen(pictures, observation.steering)


def drawn_on(observation: Observation) -> bool:
    """Whether a path is drawn on the first picture: the steering question is asked then."""
    return observation.steering is not None and len(observation.steering) > 0


def _same(observation: Observation) -> tuple[object, ...]:
    """Equal for the same pictures with the same line drawn on them."""
    drawn = None if observation.steering is None else observation.steering.tobytes()
    return observation.stamp, tuple(map(id, observation.images)), drawn
