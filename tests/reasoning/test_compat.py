"""The official reading, kept as a reference: every recorded case, errors included."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from molmoact_ros.reasoning.compat import (
    lenient_actions,
    lenient_depth_ids,
    lenient_depths,
    lenient_traces,
)

# The only non-action words of the real vocabulary that the recorded cases use.
VOCABULARY = frozenset({"hello", "\u0120the"})


def test_golden_parse_cases(golden: Path) -> None:
    table = json.loads((golden / "parsers/parse_cases.json").read_text(encoding="utf-8"))
    for case in table["cases"]:
        name, text = case["name"], case["text"]
        assert lenient_traces(text) == case["trace"], name
        assert lenient_depths(text) == case["depth"], name
        stats = case.get("norm_stats_override", table["norm_stats"])
        if "action_error" in case:
            assert case["action_error"] == "ValueError"
            with pytest.raises(ValueError, match=r"statistics|choose"):
                lenient_actions(text, stats, case["unnorm_key"], VOCABULARY)
        else:
            rows = lenient_actions(text, stats, case["unnorm_key"], VOCABULARY)
            assert [row.tolist() for row in rows] == case["action"], name


def test_golden_depth_ids(golden: Path) -> None:
    for case in json.loads((golden / "parsers/depth_text.json").read_text())["depth_text_to_ids"]:
        if "error" in case:
            with pytest.raises(ValueError):
                lenient_depth_ids(case["text"])
        else:
            assert lenient_depth_ids(case["text"]) == case["ids"]
