"""Fuses what is seen over time: the hand hides things, images err, cubes travel in the grip.

This is the state of the estimator. The expert has none: it acts on the estimate alone.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.geometry import Camera, Pose
from molmoact_ros.policy.scripted.estimate import Estimate, Hand, Item, carried, grip
from molmoact_ros.policy.scripted.percept import (
    CUBES,
    Detection,
    Percept,
    nearest_square_angle,
)

# Blend of a new image into a known position: averages pixel noise, follows within a second.
BLEND = 0.4
# A cube that was seen whole this far from where it was believed has been moved.
MOVED_M = 0.025
# Around a lowered hand fingers cut corners off what is seen there.
HAND_RADIUS_M = 0.09
HAND_HEIGHT_M = 0.16
# A cube of the held colour seen whole this far from the fingers is not in them.
DROPPED_M = 0.07
# Images in a row in which the camera looks through a cube's place before it is given up.
MISSES = 3
# From the centre: the table lies half a cube behind it, its own surface half a cube before.
SEEN_THROUGH_M = 0.012


class SceneMemory:
    """One episode's memory; ``update`` once an image, ``reset`` when a goal starts anew."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything: people move things between goals."""
        self._estimate: Estimate | None = None
        self._tool: Pose | None = None
        self._misses: dict[str, int] = {}
        self._strays: dict[str, int] = {}

    def update(
        self, percept: Percept, hand: Hand, depth: NDArray[np.float32], camera: Camera
    ) -> Estimate:
        """The estimate after one more image.

        ``hand`` is measured at the image's stamp. ``depth`` metres [H, W] of the same image:
        it tells a hidden cube from one that has gone.
        """
        known = self._estimate or Estimate(percept.table, {})
        known = replace(known, table=percept.table)
        if self._tool is not None:
            known = carried(known, self._tool, hand.measured)
        # See first, then grip: at the first image a cube must be known to be held.
        for detection in percept.detections.values():
            known = self._fuse(known, detection, hand)
        known = grip(known, hand)
        for name in CUBES:
            if name in known.items and name not in percept.detections and name != known.held:
                known = self._doubt(known, name, depth, camera)
            else:
                self._misses.pop(name, None)
        self._estimate, self._tool = known, hand.measured
        return known

    def _fuse(self, known: Estimate, seen: Detection, hand: Hand) -> Estimate:
        name = seen.name
        tool = hand.measured.position
        if name == known.held:
            if not seen.whole or np.linalg.norm(seen.position - tool) < DROPPED_M:
                return known
            known = replace(known, held=None)
        old = known.items.get(name)
        if old is None:
            return known.with_item(name, Item(seen.position, seen.yaw))
        distance = float(np.linalg.norm(seen.position - old.position))
        if not seen.whole:
            # Half a cube is a poor measurement, but twice half a cube elsewhere is a fact.
            if distance < 2 * MOVED_M:
                self._strays.pop(name, None)
                return known
            self._strays[name] = self._strays.get(name, 0) + 1
            if self._strays[name] < 2:
                return known
            return known.with_item(name, Item(seen.position, seen.yaw))
        if distance > MOVED_M:
            return known.with_item(name, Item(seen.position, seen.yaw))
        near = np.hypot(*(seen.position - tool)[:2]) < HAND_RADIUS_M
        if near and tool[2] - known.table < HAND_HEIGHT_M:
            return known
        position = old.position + BLEND * (seen.position - old.position)
        turn = nearest_square_angle(seen.yaw, old.yaw) - old.yaw
        return known.with_item(name, Item(position, old.yaw + BLEND * turn))

    def _doubt(
        self, known: Estimate, name: str, depth: NDArray[np.float32], camera: Camera
    ) -> Estimate:
        if not _seen_through(known.items[name], depth, camera):
            self._misses.pop(name, None)
            return known
        self._misses[name] = self._misses.get(name, 0) + 1
        return known.without(name) if self._misses[name] >= MISSES else known


def _seen_through(item: Item, depth: NDArray[np.float32], camera: Camera) -> bool:
    """Whether the camera measures something clearly behind the cube's centre."""
    pixels, distance = camera.project(item.position[None])
    u, v = (int(round(float(value))) for value in pixels[0])
    if not (1 <= u < camera.width - 1 and 1 <= v < camera.height - 1) or distance[0] <= 0:
        return False
    patch = depth[v - 1 : v + 2, u - 1 : u + 2]
    valid = patch[patch > 0]
    return bool(valid.size and float(np.median(valid)) > float(distance[0]) + SEEN_THROUGH_M)
