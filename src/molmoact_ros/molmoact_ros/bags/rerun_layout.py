"""How Rerun shows an exported bag. The package is optional: imported when a layout is made."""

from __future__ import annotations

from typing import Any

TIMELINE = "time"
CAMERA = "world/camera"


def blueprint() -> Any:
    """How the viewer opens: space and pictures on the left, words and curves on the right."""
    import rerun.blueprint as rrb

    return rrb.Blueprint(
        rrb.Horizontal(
            rrb.Vertical(
                rrb.Spatial3DView(origin="world", name="Robot"),
                rrb.Horizontal(
                    rrb.Spatial2DView(origin=CAMERA, name="What it sees, where it will go"),
                    rrb.Spatial2DView(origin="model/depth", name="Depth it imagines (relative)"),
                    rrb.Spatial2DView(origin="wrist/image", name="Wrist"),
                ),
            ),
            rrb.Vertical(
                rrb.TextDocumentView(origin="instruction", name="Instruction"),
                rrb.TextDocumentView(origin="thought/text", name="Thought"),
                rrb.TimeSeriesView(origin="gripper", name="Gripper"),
                rrb.TextLogView(origin="log", name="Thoughts"),
                row_shares=[1, 3, 2, 2],
            ),
            column_shares=[3, 1],
        ),
        rrb.TimePanel(state="collapsed", timeline=TIMELINE),
        collapse_panels=True,
    )
