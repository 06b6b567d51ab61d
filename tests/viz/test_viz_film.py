"""Film frames, films and contact sheets: what a run leaves behind for people."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from molmoact_ros.viz.action_bars import full_scales, row_in_words
from molmoact_ros.viz.contact_sheet import KeyMoment, contact_sheet, evenly
from molmoact_ros.viz.panel import Moment, compose
from molmoact_ros.viz.video import VideoWriter

EXTERNAL = np.full((240, 320, 3), 150, np.uint8)


def test_a_frame_is_720p_whatever_is_missing() -> None:
    """A film starts before the first thought; a missing part must leave its place, not raise."""
    bare = compose(Moment(EXTERNAL))
    assert bare.shape == (720, 1280, 3) and bare.dtype == np.uint8
    rows = np.zeros((8, 7))
    full = compose(
        Moment(
            EXTERNAL,
            EXTERNAL,
            np.zeros((320, 320)),
            "put the red cube on the plate " * 20,
            "Moving",
            "scripted expert",
            "simulation",
            3,
            np.array([[10, 10], [200, 200]]),
            np.array([[10, 10]]),
            None,
            rows,
            2,
            {"encode": 0.1, "generate": 0.0},
        )
    )
    assert full.shape == (720, 1280, 3)
    assert (full != bare).any()


def test_a_trace_on_the_frame_is_where_it_was_in_the_camera() -> None:
    """The stage must scale the picture and the trace alike, or the film would lie."""
    marked = EXTERNAL.copy()
    marked[118:123, 78:83] = (255, 0, 255)
    frame = compose(Moment(marked)).astype(int)
    rows, columns = np.nonzero(
        (frame[:, :960, 0] > 220) & (frame[:, :960, 1] < 60) & (frame[:, :960, 2] > 220)
    )
    assert abs(columns.mean() - 80.5 / 320 * 960) < 2 and abs(rows.mean() - 120.5 / 240 * 720) < 2
    traced = compose(Moment(EXTERNAL, trace=np.array([[80.5 / 320 * 255, 120.5 / 240 * 255]])))
    changed = np.argwhere((traced != compose(Moment(EXTERNAL))).any(axis=2))
    disc = changed[changed[:, 1] < 700]
    assert abs(disc[:, 1].mean() - 241.5) < 2 and abs(disc[:, 0].mean() - 361.5) < 2


def test_actions_are_said_in_units_of_a_person() -> None:
    """Metres and radians a row are unreadable; the sign and the gripper's word must be right."""
    words = row_in_words(np.array([0.0123, -0.004, 0, 0, 0, np.pi / 180, 0.2]))
    assert words == ("+12.3 mm", "-4.0 mm", "+0.0 mm", "+0.0 deg", "+0.0 deg", "+1.0 deg", "closed")
    assert row_in_words(np.array([0, 0, 0, 0, 0, 0, 0.9]))[6] == "open"
    assert full_scales(np.zeros((8, 7))) == (0.002, 0.02)


def test_a_film_has_the_frames_and_times_it_was_given(tmp_path: Path) -> None:
    """Players and browsers need H.264, yuv420p and the index first; times come from stamps."""
    path = tmp_path / "deep" / "run.mp4"
    stamps = [100.0, 100.1, 100.2, 100.2, 100.5, 100.6]
    with VideoWriter(path) as film:
        kept = [
            film.add(np.full((48, 64, 3), 40 * i, np.uint8), stamp)
            for i, stamp in enumerate(stamps)
        ]
        assert not path.exists()
    assert kept == [True, True, True, False, True, True]
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        times = [float(frame.time) for frame in container.decode(stream)]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
    assert np.allclose(np.array(times) - times[0], [0, 0.1, 0.2, 0.5, 0.6], atol=1e-3)
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    assert list(tmp_path.rglob("*.part")) == []


def test_a_film_refuses_frames_it_cannot_hold(tmp_path: Path) -> None:
    film = VideoWriter(tmp_path / "run.mp4")
    with pytest.raises(ValueError, match="even"):
        film.add(np.zeros((47, 64, 3), np.uint8), 0.0)
    film.add(np.zeros((48, 64, 3), np.uint8), 0.0)
    with pytest.raises(ValueError, match="one size"):
        film.add(np.zeros((64, 64, 3), np.uint8), 0.1)
    with pytest.raises(ValueError, match="stamp"):
        film.add(np.zeros((48, 64, 3), np.uint8), float("nan"))
    assert film.close() == tmp_path / "run.mp4"
    assert film.close() is None
    assert VideoWriter(tmp_path / "none.mp4").close() is None


def test_a_contact_sheet_holds_every_moment() -> None:
    """Each tile shows its own picture: a sheet with one moment twice would hide a failure."""
    shades = (40, 120, 200, 250)
    moments = [
        KeyMoment(np.full((90, 160, 3), shade, np.uint8), f"moment {shade}") for shade in shades
    ]
    sheet = contact_sheet(moments, title="run", columns=2, tile=(200, 150))
    for index, shade in enumerate(shades):
        x, y = 24 + (index % 2) * 224 + 100, 96 + (index // 2) * 216 + 75
        assert (sheet[y, x] == shade).all()
    taller = contact_sheet(moments, title="run", subtitle="one\ntwo", columns=2, tile=(200, 150))
    assert taller.shape[0] == sheet.shape[0] + 24, "every line of the subtitle has its place"
    with pytest.raises(ValueError, match="at least one"):
        contact_sheet([], title="run")


def test_key_moments_are_spread_and_hold_both_ends() -> None:
    assert evenly(100, 5) == (0, 25, 50, 74, 99)
    assert evenly(3, 6) == (0, 1, 2)
    assert evenly(0, 6) == ()
