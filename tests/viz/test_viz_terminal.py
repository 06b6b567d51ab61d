"""Words for a terminal stay readable in a log file as well."""

from __future__ import annotations

import io

import pytest

from molmoact_ros.viz.colours import Colour
from molmoact_ros.viz.terminal import Terminal, columns


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_file_gets_no_escape_codes_and_one_line_of_progress() -> None:
    file = io.StringIO()
    terminal = Terminal(file)
    terminal.heading("Depth")
    terminal.line(terminal.tinted(" 12 ", Colour(9, 9, 9)))
    show = terminal.progress("loading")
    for done in range(0, 10**9 + 1, 10**8):
        show(done, 10**9)
    lines = file.getvalue().splitlines()
    assert lines[:3] == ["", "Depth", " 12 "]
    assert len(lines) == 4 and lines[3].startswith("loading") and "1.00 GB" in lines[3]
    assert "\x1b" not in file.getvalue() and "\r" not in file.getvalue()


def test_a_screen_gets_colours_and_a_moving_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    screen = Screen()
    terminal = Terminal(screen)
    assert "38;2;0;0;0" in terminal.tinted("x", Colour(250, 250, 250))
    assert "38;2;255;255;255" in terminal.tinted("x", Colour(5, 5, 5))
    show = terminal.progress("loading")
    show(0, 100)
    show(100, 100)
    assert screen.getvalue().count("\r") == 2
    monkeypatch.setenv("NO_COLOR", "1")
    assert Terminal(Screen()).tinted("x", Colour(5, 5, 5)) == "x"


def test_an_empty_model_does_not_divide_by_zero() -> None:
    file = io.StringIO()
    Terminal(file).progress("loading")(0, 0)
    assert "loading" in file.getvalue()


def test_columns_are_right_aligned() -> None:
    assert columns(("1", "+2.5"), (3, 6)) == "  1    +2.5"
    with pytest.raises(ValueError):
        columns(("1",), (3, 6))
