"""What two cards may differ in, and what not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from molmoact_ros.data.card import DataCard, differences

CARD = DataCard(depth_codebook="aa")


@pytest.mark.parametrize(
    "changes",
    [
        {"depth_codebook": "bb"},
        {"depth_source": "none"},
        {"trace_source": "none"},
        {"center_crop": 0.9},
        {"crop_moves_trace": False},
        {"image_size": (424, 240)},
        {"chunk": 1},
        {"fps": 10.0},
    ],
)
def test_what_changes_question_picture_or_motion_is_named(changes: dict[str, object]) -> None:
    (sentence,) = differences(CARD.travelling, replace(CARD, **changes).travelling)
    assert sentence.startswith(f"{next(iter(changes))} is ")


def test_where_labels_came_from_may_differ() -> None:
    other = replace(CARD, depth_source="estimate", trace_source="molmo", software="other")
    assert differences(CARD.travelling, other.travelling) == []


def test_without_depth_no_codebook_is_compared() -> None:
    bare = replace(CARD, depth_source="none")
    assert differences(bare.travelling, replace(bare, depth_codebook="bb").travelling) == []
