"""Traces for Foxglove: only where foxglove_msgs is installed; here a stand-in speaks its names."""

from __future__ import annotations

import sys
import types
from typing import Any

import numpy as np
import pytest
from builtin_interfaces.msg import Time

from molmoact_ros.nodes.trace_annotations import (
    LINE_STRIP,
    annotation_messages,
    image_annotations,
)
from molmoact_ros.viz.colours import EXECUTED, HUMAN

# Field names and types of foxglove_msgs 3 (foxglove-sdk, ros2/foxglove_msgs/msg/*.msg).
FIELDS: dict[str, dict[str, Any]] = {
    "Color": {"r": 0.0, "g": 0.0, "b": 0.0, "a": 0.0},
    "Point2": {"x": 0.0, "y": 0.0},
    "PointsAnnotation": {"timestamp": None, "type": 0, "points": (), "outline_color": None,
                         "outline_colors": (), "fill_color": None, "thickness": 0.0},
    "CircleAnnotation": {"timestamp": None, "position": None, "diameter": 0.0, "thickness": 0.0,
                         "fill_color": None, "outline_color": None},
    "TextAnnotation": {"timestamp": None, "position": None, "text": "", "font_size": 0.0,
                       "text_color": None, "background_color": None},
    "ImageAnnotations": {"circles": (), "points": (), "texts": ()},
}  # fmt: skip


def message(name: str) -> type:
    """A class that, like rclpy's, refuses fields it does not have and ints for floats."""

    def init(self: Any, **fields: Any) -> None:
        for key, value in fields.items():
            assert key in FIELDS[name], f"{name} has no field {key}"
            if isinstance(FIELDS[name][key], float):
                assert isinstance(value, float), f"{name}.{key} is a float64"
        for key, default in FIELDS[name].items():
            empty = list(default) if isinstance(default, tuple) else default
            setattr(self, key, fields.get(key, empty))

    return type(name, (), {"__init__": init})


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Any:
    package, msgs = types.ModuleType("foxglove_msgs"), types.ModuleType("foxglove_msgs.msg")
    for name in FIELDS:
        setattr(msgs, name, message(name))
    monkeypatch.setitem(sys.modules, "foxglove_msgs", package)
    monkeypatch.setitem(sys.modules, "foxglove_msgs.msg", msgs)
    return msgs


def test_without_the_package_nothing_is_published(monkeypatch: pytest.MonkeyPatch) -> None:
    """A robot without Foxglove must start all the same."""
    monkeypatch.setitem(sys.modules, "foxglove_msgs", None)
    monkeypatch.setitem(sys.modules, "foxglove_msgs.msg", None)
    assert annotation_messages() is None


def test_lines_lie_on_the_pixels_of_the_camera_picture(stand_in: Any) -> None:
    """The grid is 0..255 and annotations are pixels: unscaled they would sit in a corner."""
    msgs, stamp = annotation_messages(), Time(sec=5, nanosec=7)
    assert msgs is stand_in
    trace = np.array([[0.0, 0.0], [127.5, 127.5], [255.0, 255.0]])
    executed = np.array([[10.0, 10.0], [20.0, 20.0]])
    out = image_annotations(
        msgs,
        stamp,
        (640, 480),
        trace=trace,
        colour=HUMAN,
        executed=executed,
        executed_colour=EXECUTED,
    )
    done, line = out.points
    assert line.type == LINE_STRIP and line.timestamp == stamp
    assert [(p.x, p.y) for p in line.points] == [(0, 0), (320, 240), (640, 480)]
    assert (line.outline_color.r, line.outline_color.a) == (1.0, 1.0)
    assert len(done.points) == 2 and done.outline_color.b == 1.0
    assert [text.text for text in out.texts] == ["1", "2", "3"]
    assert [(c.position.x, c.position.y) for c in out.circles][1] == (320, 240)


def test_no_trace_takes_the_old_lines_away(stand_in: Any) -> None:
    """Foxglove shows the last message: an empty one clears the picture."""
    out = image_annotations(stand_in, Time(), (640, 480), trace=np.zeros((0, 2)), colour=HUMAN)
    assert (out.points, out.circles, out.texts) == ([], [], [])
