"""The picture under one page's pen stands still; its line is shown as the model will see it.

What is drawn is checked against this picture, never against a stamp that a page sends.
"""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np

from molmoact_ros.reasoning.overlay import draw_trace
from molmoact_ros.reasoning.sketch import BadSketch, check_picture_age
from molmoact_ros.web.page import Drawn, PageError, PageState
from molmoact_ros.web.picture import Picture
from molmoact_ros.web.requests import Points, Request

SENT = 5
"""Pictures kept of those sent: with two on their way, the one on the screen is among them."""


class Easel:
    """One page's frozen picture. ``state`` gives the time."""

    def __init__(self, state: PageState) -> None:
        self._state = state
        self._sent: deque[Picture] = deque(maxlen=SENT)
        self._picture: Picture | None = None

    def sent(self, picture: Picture) -> None:
        """An external picture went to the page: a pen may fall on it."""
        self._sent.append(picture)

    def freeze(self, number: int) -> Picture:
        """Keep the external picture ``number``. Raises PageError when it is gone."""
        for picture in self._sent:
            if picture.number & 0xFFFFFFFF == number:
                self._picture = picture
                return picture
        raise PageError("that picture is gone; put the pen on a newer one")

    def drawn(self, request: Request) -> Drawn:
        """The path of a steer request. Raises PageError when its picture is another or too old."""
        picture = self._kept(request.frame)
        try:
            check_picture_age(picture.stamp, self._state.clock())
        except BadSketch as bad:
            raise PageError(str(bad)) from bad
        height, width = picture.rgb.shape[:2]
        return Drawn(request.points, picture.stamp, width, height, request.until_cleared)

    def preview(self, number: int, points: Points) -> tuple[Picture, bytes]:
        """The frozen picture and its PNG with the line drawn as in training (some milliseconds).

        Raises PageError when another picture was frozen.
        """
        picture = self._kept(number)
        rgb = picture.rgb
        if rgb.ndim == 2:
            rgb = np.repeat(rgb[..., None], 3, axis=2)
        seen = draw_trace(rgb, np.array(points, np.float32))
        # Level 1: it is on loopback or a local network, and a pen is waiting for it.
        done, data = cv2.imencode(
            ".png", cv2.cvtColor(seen, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 1]
        )
        if not done:
            raise PageError("the preview could not be encoded; draw again")
        return picture, data.tobytes()

    def _kept(self, number: int) -> Picture:
        if self._picture is None or self._picture.number & 0xFFFFFFFF != number:
            raise PageError("the pen lies on another picture; draw again")
        return self._picture
