"""One bag to one labelled episode on disk. Pure of the order of episodes, so it runs in parallel.

Statistics and bins belong to the whole set and are added by ``dataset.finish``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.data.card import DataCard
from molmoact_ros.data.depth_labels import DepthLabeller
from molmoact_ros.data.idle import kept_ticks
from molmoact_ros.data.pictures import encode_jpeg, rgb_of
from molmoact_ros.data.recording import BadEpisode, Recording
from molmoact_ros.data.row_card import row_card
from molmoact_ros.data.rows import LABELS, PICTURES, EpisodeRows, PackWriter, write_rows
from molmoact_ros.data.ticks import Ticks, make_ticks
from molmoact_ros.data.traces import traces
from molmoact_ros.geometry import Floats
from molmoact_ros.policy.startup_checks import same_aspect
from molmoact_ros.policy.view import resized
from molmoact_ros.reasoning.prompts import BadInstruction, check_instruction

SHORTEST = 2
LEAST_TRACED = 0.95
"""Share of ticks whose trace must be known, else depth and trace would teach guessing."""


class Pointer(Protocol):
    """Finds the gripper in a picture."""

    def point(self, rgb: NDArray[np.uint8], /) -> tuple[float, float] | None:
        """Shares 0..1 of width and height, or None."""
        ...


@dataclass(frozen=True, eq=False)
class Known:
    """Labels that ticks bring along: depth codes [T, 100] or None; traces of T ticks or none."""

    depth: NDArray[np.uint8] | None = None
    traces: Sequence[NDArray[np.uint8] | None] = ()

    def only(self, kept: NDArray[np.bool_]) -> Known:
        index = np.flatnonzero(kept)
        depth = None if self.depth is None else self.depth[index]
        return Known(depth, [self.traces[i] for i in index] if self.traces else ())


def episode_key(name: str) -> str:
    """File name of an episode: 16 hexadecimal digits of its id's SHA-256."""
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def label_episode(
    recording: Recording,
    out: Path,
    card: DataCard,
    depth: DepthLabeller | None,
    source: str,
    pointer: Pointer | None = None,
) -> EpisodeRows:
    """Write one episode (parquet and packs) below ``out``. Raises BadEpisode.

    source: where it came from, for the quarantine list and for resuming.
    """
    if card.success_required and recording.success is not True:
        said = "as not successful" if recording.success is False else "by nobody"
        raise BadEpisode(f"labelled {said}; label it a success, or allow others in the card")
    try:
        instruction = check_instruction(recording.instruction)
    except BadInstruction as error:
        raise BadEpisode(str(error)) from error
    ticks = replace(make_ticks(recording, card), instruction=instruction)
    return label_ticks(ticks, out, card, depth, source, pointer)


def label_ticks(
    ticks: Ticks,
    out: Path,
    card: DataCard,
    depth: DepthLabeller | None,
    source: str,
    pointer: Pointer | None = None,
    known: Known = Known(),
) -> EpisodeRows:
    """As ``label_episode``, for ticks that come from elsewhere. ``known``: labels they have."""
    whole = len(ticks)
    kept = kept_ticks(ticks.actions, card)
    ticks, known = ticks.only(kept), known.only(kept)
    if len(ticks) < SHORTEST:
        raise BadEpisode(f"only {len(ticks)} of {whole} ticks hold motion; record it again")
    key = episode_key(ticks.episode_id)
    (out / LABELS).mkdir(parents=True, exist_ok=True)
    (out / PICTURES).mkdir(exist_ok=True)
    offsets, first = _store_pictures(ticks, out, key, card, card.depth_source == "estimate")
    found = list(known.traces) or traces(_points(ticks, card, pointer))
    if card.trace_source != "none":
        _check_traced(found)
    codes: NDArray[np.uint8] = np.zeros((len(ticks), 0), np.uint8)
    if known.depth is not None:
        codes = known.depth
    elif depth is not None and card.depth_source == "sensor":
        codes = depth.from_sensor(ticks.depth)
    elif depth is not None and card.depth_source == "estimate":
        codes = depth.from_pictures(first)
    usable = startable(ticks.clean, card.chunk)
    if ticks.fresh is not None:  # its motion stays part of earlier ticks' chunks
        usable = usable & ticks.fresh
    rows = EpisodeRows(
        timestamps=(ticks.stamps - ticks.stamps[0]) * 1e-9,
        offsets=offsets,
        actions=ticks.actions,
        states=ticks.states,
        depth=codes,
        traces=found,
        use=usable,
        info={
            "instruction": ticks.instruction,
            "episode_id": ticks.episode_id,
            "source": source,
            "key": key,
            "dropped": str(whole - len(ticks)),
            "start_ns": str(int(ticks.stamps[0])),
            "trace_source": card.trace_source,
            "depth_source": card.depth_source,
            "card": card.digest,
            "row_card": row_card(card),
            **ticks.notes,
        },
    )
    write_rows(out / LABELS / f"{key}.parquet", rows)
    return rows


def startable(clean: NDArray[np.bool_], chunk: int) -> NDArray[np.bool_]:
    """Ticks [T] whose whole chunk may be imitated: none of its rows is a disturbance."""
    dirty = np.concatenate([~clean, np.zeros(chunk, dtype=bool)])
    counts = np.concatenate([[0], np.cumsum(dirty)])
    return np.asarray(counts[chunk : chunk + len(clean)] - counts[: len(clean)] == 0)


def _store_pictures(
    ticks: Ticks, out: Path, key: str, card: DataCard, keep_first: bool
) -> tuple[dict[str, NDArray[np.int64]], list[NDArray[np.uint8]]]:
    offsets, first = {}, []
    for name, stream in zip(card.cameras, ticks.pictures, strict=True):
        pack = PackWriter(out / PICTURES / f"{key}.{name}.pack")
        for picture in stream:
            rgb = _at_card_size(name, rgb_of(picture), card)
            pack.add(encode_jpeg(rgb, card.jpeg_quality))
            if keep_first and name == card.cameras[0]:
                first.append(rgb)
        offsets[name] = pack.close()
    return offsets, first


def _at_card_size(name: str, rgb: NDArray[np.uint8], card: DataCard) -> NDArray[np.uint8]:
    height, width = rgb.shape[:2]
    if not same_aspect(card.image_size, (width, height)):
        fits = card.image_size[0], max(1, round(card.image_size[0] * height / width))
        raise BadEpisode(
            f"the pictures of {name} are {width}x{height}, the card's image_size is "
            "{}x{}, which would squeeze them; ".format(*card.image_size)
            + "--set image_size=[{},{}] keeps their shape".format(*fits)
        )
    return resized(rgb, card.image_size)


def _points(ticks: Ticks, card: DataCard, pointer: Pointer | None) -> Floats:
    if card.trace_source in ("tf", "fk"):
        if not np.isfinite(ticks.uv).any():
            raise BadEpisode(
                "the tool is never in the first picture or its camera is not calibrated; record "
                "camera_info and /tf_static, or set trace_source to molmo or none"
            )
        return ticks.uv
    if card.trace_source == "molmo":
        if pointer is None:
            raise BadEpisode("trace_source is molmo, but no pointing model was given")
        points = [pointer.point(rgb_of(picture)) for picture in ticks.pictures[0]]
        return np.array([(np.nan, np.nan) if p is None else p for p in points])
    return np.full((len(ticks), 2), np.nan)


def _check_traced(found: Sequence[NDArray[np.uint8] | None]) -> None:
    share = sum(trace is not None for trace in found) / len(found)
    if share < LEAST_TRACED:
        raise BadEpisode(
            f"the tool is in the first picture at {100 * share:.0f} % of the ticks, needed are "
            f"{100 * LEAST_TRACED:.0f} %; move the camera or check its calibration"
        )
