"""The small parts of the engine: trees, rows, readers, memory, rate plan, preparation."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from molmoact_ros.engine.ahead import Ahead
from molmoact_ros.engine.memory import DraftMemory
from molmoact_ros.engine.quantize import QuantizationError, quantize_weights
from molmoact_ros.engine.rate import RatePlan, ThoughtRate
from molmoact_ros.engine.reader import AnswerReader
from molmoact_ros.engine.rows import ROOT, TokenTree, lay_out
from molmoact_ros.model.attention import attend, mask_per_group
from molmoact_ros.reasoning.answer import compose_answer


def test_rows_of_a_tree_see_their_own_branch_only() -> None:
    """A row that saw its sibling would be decided by a text nobody wrote."""
    tree = TokenTree()
    trunk = tree.add(ROOT, 10, 0)
    side = tree.add(ROOT, 20, 0)
    behind_side = tree.add(side, 21, 0)
    behind_trunk = tree.add(trunk, 11, 0)
    layout = lay_out([7, 8], [0, 0], tree, start=100)
    rows = layout.rows
    assert rows.tokens == [7, 8, 10, 11, 20, 21]
    assert rows.positions == [100, 101, 102, 103, 102, 103]
    assert layout.trunk == {trunk, behind_trunk}
    assert rows.sees[layout.row_of[behind_side]].nonzero()[0].tolist() == [0, 1, 4, 5]
    assert rows.sees[layout.row_of[behind_trunk]].nonzero()[0].tolist() == [0, 1, 2, 3]


def test_trunk_rows_stand_where_plain_decoding_would_put_them() -> None:
    """Slot = position is what makes a token's bits independent of the guesses."""
    tree, node = TokenTree(), ROOT
    for token in range(5):
        tree.add(node, 90 + token, 0)
        node = tree.add(node, token, 0) if token % 2 else tree.child(node, 90 + token)
    layout = lay_out([1], [0], tree, start=40)
    for node in layout.trunk:
        row = layout.row_of[node]
        assert layout.rows.positions[row] == layout.rows.start + row


def test_attention_with_folded_groups_is_the_same_attention() -> None:
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(1, 6, 4, 8, generator=generator)
    key, value = (torch.randn(1, 2, 10, 8, generator=generator) for _ in range(2))
    seen = torch.rand(1, 1, 4, 10, generator=generator) < 0.6
    seen[..., 0] = True
    added = torch.zeros(seen.shape).masked_fill(~seen, float("-inf"))
    folded = attend(query, key, value, mask_per_group(added, 3))
    assert torch.allclose(folded, attend(query, key, value, seen), atol=1e-6)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["nano", "D"])
def test_the_reader_finds_every_part(words, name: str) -> None:
    tokenizer, vocabulary = words(name)
    reader = AnswerReader(tokenizer.ids, vocabulary.bytes_of)
    bins = (np.arange(56).reshape(8, 7) * 37) % 256
    text = compose_answer(np.arange(100) % 128, [[140, 225], [0, 7]], bins, "multi")
    found = [part for token in tokenizer.encode(text) for part in reader.push(token)]
    assert [part.kind for part in found] == ["depth", "trace", *["row"] * 8]
    assert found[0].values == tuple(np.arange(100) % 128)
    assert found[1].values == (140, 225, 0, 7)
    assert [part.values for part in found[2:]] == [tuple(row) for row in bins.tolist()]


def test_memory_expects_the_rows_that_were_not_driven_yet() -> None:
    memory = DraftMemory(rows=((10, 1), (20, 2), (30, 3)))
    memory.executed(2)
    reader = AnswerReader.__new__(AnswerReader)
    reader.rows = []
    _, weights = memory.value(("action", 0, 0), reader)
    assert weights.argmax() == 30
    assert weights.sum() == pytest.approx(1.0)
    _, weights = memory.value(("action", 2, 1), reader)
    assert weights.argmax() == 3, "beyond its end the last row goes on"


def test_memory_expects_the_depth_count_it_saw() -> None:
    memory = DraftMemory(depth=(5, 6))
    assert memory.next_depth(1)[0] == 6
    assert memory.next_depth(2)[0] is None
    assert memory.next_depth(3) == (None, 0.0)
    memory.forget()
    assert memory.next_depth(0)[1] == 0.0


TRACE = np.array([[1, 2], [3, 4]], np.float32)


def test_the_rate_plan_is_off_by_default() -> None:
    rate = ThoughtRate(RatePlan())
    rate.thought(0.0, TRACE, followed=False)
    assert rate.trace_for(0.1) is None


def test_every_kth_thought_reasons_fully() -> None:
    rate, full = ThoughtRate(RatePlan(full_every=3)), []
    for step in range(9):
        trace = rate.trace_for(0.1 * step)
        full.append(trace is None)
        rate.thought(0.1 * step, TRACE if trace is None else trace, followed=trace is not None)
    assert full == [True, False, False] * 3


def test_an_old_a_missing_and_a_refused_trace_are_not_followed() -> None:
    """Following a trace of a scene that is gone would be worse than being slow."""
    rate = ThoughtRate(RatePlan(full_every=4, oldest=1.0))
    rate.thought(5.0, TRACE, followed=False)
    assert rate.trace_for(5.5) is not None
    assert rate.trace_for(6.5) is None
    assert rate.trace_for(4.0) is None, "a clock that was set back"
    rate.refused()
    assert rate.trace_for(5.5) is None
    rate.thought(7.0, TRACE[:1], followed=False)
    assert rate.trace_for(7.1) is None, "one point cannot be drawn"


@pytest.mark.parametrize("wrong", [{"full_every": 0}, {"oldest": 0.0}])
def test_rate_plans_are_checked(wrong: dict) -> None:
    with pytest.raises(ValueError, match="use"):
        RatePlan(**wrong)


def test_a_prepared_input_is_used_and_another_one_is_made_in_place() -> None:
    ahead: Ahead[str] = Ahead()
    threads = []

    def work() -> str:
        threads.append(threading.current_thread().name)
        return "made"

    ahead.begin("first", work)
    assert ahead.take("first", lambda: "again") == "made"
    ahead.begin("second", work)
    assert ahead.take("third", lambda: "in place") == "in place"
    assert ahead.take("second", lambda: "forgotten") == "forgotten"
    ahead.close()
    assert threads
    assert all(name.startswith("prepare") for name in threads)


def test_quantisation_without_its_library_says_what_to_install(words, tiny) -> None:
    model = tiny(words("nano")[0].vocab_size, "D", 0)
    with pytest.raises(QuantizationError, match="use fp8, int8, int4"):
        quantize_weights(model, "int2")  # type: ignore[arg-type]
    try:
        import torchao  # noqa: F401
    except ImportError:
        with pytest.raises(QuantizationError, match="pip install torchao"):
            quantize_weights(model, "int8")


def test_identical_crops_and_several_cameras_pass_the_vision_network_once(nano) -> None:
    """A picture that is not tiled is its own overview: encoding both would double the time."""
    crops: list[int] = []
    vit = nano.model.model.vision_backbone.image_vit
    handle = vit.register_forward_hook(lambda module, args, out: crops.append(args[0].shape[0]))
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (120, 160, 3), dtype=np.uint8) for _ in range(2)]
    processed = nano.processor(pictures, multi=True)
    with torch.inference_mode():
        nano.model.encode_images(
            torch.from_numpy(processed.crops),
            torch.from_numpy(processed.pooled_patches).long(),
            same_as=torch.from_numpy(processed.same_as),
        )
    handle.remove()
    assert len(processed.crops) == 4
    assert crops == [2], "one call, one crop a camera"
