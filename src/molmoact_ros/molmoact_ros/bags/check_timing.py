"""Timing of a bag: gaps, rates, clocks, and whether pictures and motion belong together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from molmoact_ros.bags.findings import Finding
from molmoact_ros.bags.signals import Signals, Track
from molmoact_ros.geometry import Floats

STAMPED = (
    "sensor_msgs/msg/Image",
    "sensor_msgs/msg/CompressedImage",
    "sensor_msgs/msg/CameraInfo",
    "sensor_msgs/msg/JointState",
    "geometry_msgs/msg/PoseStamped",
    "geometry_msgs/msg/WrenchStamped",
)
"""Streams: they come at a rate of their own. Everything else may pause."""


@dataclass(frozen=True)
class TimingLimits:
    """Seconds and shares. A gap must be long in itself and against the stream's own interval."""

    gap_s: float = 0.5
    gap_intervals: float = 5.0
    low_rate: float = 0.8
    delay_s: float = 0.15
    skew_s: float = 0.2
    skew_correlation: float = 0.5
    skew_margin: float = 0.15
    backwards_s: float = 0.05


def check_timing(signals: Signals, limits: TimingLimits | None = None) -> list[Finding]:
    """All timing findings of one episode."""
    limits = limits or TimingLimits()
    streams = {
        name: times
        for name, times in signals.arrivals.items()
        if signals.types[name] in STAMPED and len(times) >= 10
    }
    found = []
    for name, times in streams.items():
        found += _gaps(name, times, signals.seconds, limits)
        found += _backwards(name, signals.stamps[name], limits)
    found += _rates(signals, limits)
    delayed = _delays(signals, streams, limits)
    found += delayed
    for name, track in signals.images.items():
        # Wrong stamps shift the motion, too: one cause, one sentence.
        if name not in {finding.topic for finding in delayed}:
            found += _skew(name, track, signals.measured, limits)
    return found


def _gaps(name: str, times: Floats, seconds: float, limits: TimingLimits) -> list[Finding]:
    usual = float(np.median(np.diff(times)))
    limit = max(limits.gap_s, limits.gap_intervals * usual)
    edges = np.concatenate([times, [seconds]])
    gaps = np.diff(edges)
    worst = int(np.argmax(gaps))
    if gaps[worst] <= limit:
        return []
    count = int((gaps > limit).sum())
    more = f", {count} such gaps" if count > 1 else ""
    return [
        Finding(
            "gap",
            min(1.0, 0.3 + float(gaps[worst]) / 5.0),
            f"{name} is silent for {gaps[worst]:.2f} s at {edges[worst]:.1f} s (usual interval "
            f"{usual * 1e3:.0f} ms{more}): cut the episode there or record it again",
            name,
        )
    ]


def _backwards(name: str, stamps: Floats, limits: TimingLimits) -> list[Finding]:
    steps = np.diff(stamps)
    if not len(steps) or float(steps.min()) > -limits.backwards_s:
        return []
    at = int(np.argmin(steps))
    return [
        Finding(
            "clock",
            0.9,
            f"the stamps of {name} jump back by {-steps[at]:.2f} s at message {at + 1}: a clock "
            "was set while recording; discard the episode",
            name,
        )
    ]


def _rates(signals: Signals, limits: TimingLimits) -> list[Finding]:
    """Against the rates that were expected when the bag was recorded."""
    found = []
    for entry in filter(None, signals.custom.get("expected_rates", "").split(",")):
        name, _, text = entry.rpartition("=")
        stored = [n for n in signals.arrivals if n in (name, f"{name}/compressed",
                                                       f"{name}/compressedDepth")]  # fmt: skip
        count = len(signals.arrivals[stored[0]]) if stored else 0
        rate = count / signals.seconds if signals.seconds > 1.0 else 0.0
        expected = float(text)
        if signals.seconds > 1.0 and rate < limits.low_rate * expected:
            share = rate / expected
            found.append(
                Finding(
                    "rate",
                    min(1.0, 0.3 + 0.7 * (1.0 - share)),
                    f"{name} came at {rate:.1f} Hz instead of {expected:.0f}: check USB port, "
                    "exposure time and the computer's load",
                    name,
                )
            )
    return found


def _delays(signals: Signals, streams: dict[str, Floats], limits: TimingLimits) -> list[Finding]:
    """Stamp against arrival: a camera that is late stands out from the other streams."""
    late = {name: float(np.median(times - signals.stamps[name])) for name, times in streams.items()}
    if len(late) < 2:
        return []
    usual = float(np.median(list(late.values())))
    return [
        Finding(
            "delay",
            min(1.0, abs(value - usual)),
            f"{name} arrives {value * 1e3:.0f} ms after its stamp, the other topics "
            f"{usual * 1e3:.0f} ms: its clock is wrong or its driver holds pictures back",
            name,
        )
        for name, value in late.items()
        if abs(value - usual) > limits.delay_s
    ]


def _skew(name: str, change: Track, measured: Track, limits: TimingLimits) -> list[Finding]:
    """Does the picture change when the arm moves? The best shift tells a delayed camera."""
    lag, best, zero = motion_lag(change, measured)
    if abs(lag) <= limits.skew_s or best < limits.skew_correlation:
        return []
    if best - zero < limits.skew_margin:
        return []
    order = "after" if lag > 0 else "before"
    return [
        Finding(
            "skew",
            min(1.0, 0.3 + abs(lag)),
            f"{name} shows the motion {abs(lag):.2f} s {order} the measured pose (correlation "
            f"{best:.2f}, without shift {zero:.2f}): use the stamp of the exposure, or a driver "
            "that does not buffer",
            name,
        )
    ]


def motion_lag(change: Track, measured: Track, reach: float = 1.0) -> tuple[float, float, float]:
    """(seconds by which pictures lag behind poses, correlation there, correlation at zero).

    Zeros when there is too little motion to tell.
    """
    if len(change.times) < 20 or len(measured.times) < 50:
        return 0.0, 0.0, 0.0
    step = 0.02
    start, end = max(change.times[1], measured.times[0]), min(change.times[-1], measured.times[-1])
    grid = np.arange(start + reach, end - reach, step)
    if len(grid) < 100:
        return 0.0, 0.0, 0.0
    distance = np.linalg.norm(np.diff(measured.values[:, :3], axis=0), axis=1)
    path = np.concatenate([[0.0], np.cumsum(distance)])
    intervals = np.diff(change.times)
    keep = intervals > 1e-3
    # The change between two pictures belongs to the path travelled between them.
    ends = change.times[1:][keep]
    begins = change.times[:-1][keep]
    pace = change.values[1:, 0][keep] / intervals[keep]

    def correlation(lag: float) -> float:
        a = np.interp(ends - lag, measured.times, path)
        b = np.interp(begins - lag, measured.times, path)
        speed = (a - b) / intervals[keep]
        inside = (begins - reach > measured.times[0]) & (ends + reach < measured.times[-1])
        if inside.sum() < 20:
            return 0.0
        x, y = speed[inside], pace[inside]
        if x.std() < 5e-3 or y.std() < 1e-6:
            return 0.0
        return float(np.corrcoef(x, y)[0, 1])

    lags = np.arange(-reach, reach + step / 2, step)
    scores = np.array([correlation(float(lag)) for lag in lags])
    best = int(np.argmax(scores))
    return float(lags[best]), float(scores[best]), correlation(0.0)
