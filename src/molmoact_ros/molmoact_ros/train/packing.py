"""Several questions about the same pictures in one sequence: the pictures are read only once.

A segment is a question with its answer. It sees the pictures and itself, never another segment,
and its positions are those it would have alone, so nothing changes for the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.model.image_processor import ImageProcessor
from molmoact_ros.model.prompt import prompt_ids
from molmoact_ros.model.tokenizer import MolmoActTokenizer
from molmoact_ros.policy.view import shrunk
from molmoact_ros.reasoning.prompts import chat_text
from molmoact_ros.train.samples import Asked, Sample, TooLong, without_duplicates


@dataclass(frozen=True, eq=False)
class Packed:
    """ids, segment, position int32 [S] and learned bool [S]; segment 0 is what all may see.

    crops and pooled as in ``Sample``. landmarks: flat, aims [segments, values] (``aims``), or None
    where nobody knows them. heard: int32 [S], what the network reads where that differs from what
    it shall say (``targets.misheard``).
    """

    ids: NDArray[np.int32]
    segment: NDArray[np.int32]
    position: NDArray[np.int32]
    learned: NDArray[np.bool_]
    crops: NDArray[np.float32]
    pooled: NDArray[np.int32]
    kind: str
    landmarks: NDArray[np.float32] | None = None
    aims: NDArray[np.float32] | None = None
    heard: NDArray[np.int32] | None = None


def alone(sample: Sample) -> Packed:
    """A sample as a pack of one."""
    count = len(sample.ids)
    learned = np.arange(count) >= sample.answer
    return Packed(
        ids=sample.ids,
        segment=np.zeros(count, np.int32),
        position=np.arange(count, dtype=np.int32),
        learned=learned,
        crops=sample.crops,
        pooled=sample.pooled,
        kind=sample.kind,
        landmarks=sample.landmarks,
    )


def packed(
    questions: Sequence[Asked],
    longer: Sequence[str],
    tokenizer: MolmoActTokenizer,
    processor: ImageProcessor,
    limit: int,
) -> Packed:
    """Questions about the pictures of the first one. Raises TooLong.

    longer: of each, the same answer with what the one to learn leaves out before its trace (the
    depth); what is left out keeps its positions.
    """
    pictures = questions[0].pictures
    multi = len(pictures) > 1
    processed = processor([shrunk(picture) for picture in pictures], multi=multi)
    ids = prompt_ids(tokenizer, "", processed.kinds, multi=multi)
    prefix = len(ids)
    segment, learned = [0] * prefix, [False] * prefix
    position = list(range(prefix))
    for number, (made, complete) in enumerate(zip(questions, longer, strict=True), 1):
        asks = tokenizer.encode(chat_text(made.question))
        answer = tokenizer.encode(made.answer)
        gap = len(tokenizer.encode(complete)) - len(answer)
        if made.ends:
            answer = [*answer, tokenizer.ids.eos]
        ids += [*asks, *answer]
        segment += [number] * (len(asks) + len(answer))
        learned += [False] * len(asks) + [True] * len(answer)
        start = prefix + len(asks)
        position += [*range(prefix, start), *range(start + gap, start + gap + len(answer))]
    if len(ids) > limit:
        raise TooLong(
            f"a pack of {len(questions)} questions has {len(ids)} tokens, the limit is {limit}; "
            "set pack lower"
        )
    crops, pooled = without_duplicates(
        processed.crops, np.asarray(processed.pooled_patches), np.asarray(processed.same_as)
    )
    return Packed(
        ids=np.array(ids, np.int32),
        segment=np.array(segment, np.int32),
        position=np.array(position, np.int32),
        learned=np.array(learned, bool),
        crops=crops,
        pooled=pooled,
        kind=questions[0].kind,
    )
