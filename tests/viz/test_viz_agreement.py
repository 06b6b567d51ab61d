"""Two numbers about a thought: was the arm where it was said to go, is near really near?"""

from __future__ import annotations

import numpy as np
import pytest

from molmoact_ros.viz.agreement import depth_agreement, trace_error

LINE = np.array([[0.0, 0.0], [127.5, 0.0], [127.5, 255.0]])


def test_on_the_line_is_no_error_and_beside_it_is_the_distance_in_pixels() -> None:
    on = np.array([[51.0, 0.0], [127.5, 51.0], [127.5, 204.0]])
    assert trace_error(LINE, on, 320, 240) == pytest.approx(0.0, abs=1e-6)
    # 25.5 grid units right of the second piece are 32 pixels of 320.
    beside = np.array([[153.0, 51.0], [153.0, 204.0]])
    assert trace_error(LINE, beside, 320, 240) == pytest.approx(32.0)


def test_without_a_line_or_a_motion_there_is_no_number() -> None:
    """0.0 would read as perfect."""
    assert trace_error(LINE[:1], LINE, 320, 240) is None
    assert trace_error(LINE, np.zeros((0, 2)), 320, 240) is None


def test_depth_of_the_same_order_agrees_whatever_its_scale() -> None:
    far = np.tile(np.linspace(0.4, 1.6, 320), (240, 1))
    near = 1.0 / far[::3, ::4] ** 2
    agreement = depth_agreement(near, far)
    assert agreement is not None and agreement > 0.99
    reversed_order = depth_agreement(-near, far)
    assert reversed_order is not None and reversed_order < -0.99


def test_unrelated_depth_does_not_agree_and_unknown_depth_says_nothing() -> None:
    rng = np.random.default_rng(0)
    metres = rng.uniform(0.3, 2.0, (240, 320))
    value = depth_agreement(rng.random((320, 320)), metres)
    assert value is not None and abs(value) < 0.1
    assert depth_agreement(rng.random((320, 320)), np.zeros((240, 320))) is None
    assert depth_agreement(np.zeros((320, 320)), metres) is None


def test_holes_of_the_sensor_do_not_count() -> None:
    far = np.tile(np.linspace(0.4, 1.6, 320), (240, 1))
    holed = far.copy()
    holed[:, ::2] = 0.0
    holed[:60] = np.nan
    agreement = depth_agreement(-far, holed)
    assert agreement is not None and agreement > 0.99
