"""``molmoact bag info|check|recover|play|video|rerun``: recorded episodes from the command line."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib import resources
from pathlib import Path

from molmoact_ros.bags.check import check_bag
from molmoact_ros.bags.episodes import list_episodes
from molmoact_ros.bags.metadata import FILE, BadBag
from molmoact_ros.bags.observations import BagObservations
from molmoact_ros.bags.reader import BagReader
from molmoact_ros.bags.recovery import find_unfinished, recover
from molmoact_ros.bags.roles import Roles
from molmoact_ros.bags.schedule import Playback
from molmoact_ros.reasoning.statistics import ActionStatistics, read_statistics

BELOW = 50
"""``check`` exits with 1 when a bag scores less."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    info = commands.add_parser("info", help="topics, rates, origin and outcome")
    check = commands.add_parser("check", help="faults in sentences, with a score each")
    mend = commands.add_parser("recover", help="make episodes readable that were cut off")
    play = commands.add_parser("play", help="publish a bag into live topics")
    video = commands.add_parser("video", help="film of what the policy saw and thought")
    rerun = commands.add_parser("rerun", help="a recording for the Rerun viewer")
    for sub in (info, check, mend):
        sub.add_argument("bags", nargs="+", type=Path, help="bags, or folders of bags")
    for sub in (play, video, rerun):
        sub.add_argument("bag", type=Path, help="a rosbag2 folder or an .mcap file")
    for sub in (info, check):
        sub.add_argument("--json", action="store_true", help="for programs, one line a bag")
    check.add_argument("--fast", action="store_true", help="do not look into the pictures")
    check.add_argument(
        "--statistics", default="", help="norm_stats JSON for bin saturation; default: simulation"
    )
    for sub in (video, rerun):
        sub.add_argument("--depth-weights", type=Path, help="vae-final.pt; default: ours")
    for sub in (check, video, rerun):
        sub.add_argument("--external", default=Roles.external, help="topic of the external camera")
        sub.add_argument("--wrist", default=Roles.wrist, help="topic of the wrist camera")
    video.add_argument("--out", type=Path, default=Path("episode.mp4"))
    rerun.add_argument("--out", type=Path, default=Path("episode.rrd"))
    rerun.add_argument("--fps", type=float, default=15.0, help="most pictures a second and camera")
    rerun.add_argument("--images", type=int, default=2, choices=(1, 2))
    video.add_argument("--fps", type=float, default=15.0)
    video.add_argument("--images", type=int, default=2, choices=(1, 2))
    play.add_argument("--rate", type=float, default=1.0, help="2 plays twice as fast")
    play.add_argument("--start", type=float, default=0.0, help="seconds into the bag")
    play.add_argument("--loop", action="store_true")
    play.add_argument("--restamp", action="store_true", help="stamps become now")
    play.add_argument("--compressed", action="store_true", help="do not expand pictures")
    play.add_argument("--commands", action="store_true", help="also what moves an arm")
    play.add_argument("--topics", nargs="*", default=[], help="only these")


def run(values: argparse.Namespace) -> int:
    """Exit status: 0 good, 1 a bag is faulty, 2 it could not be read."""
    try:
        return int(ACTIONS[values.action](values))
    except (BadBag, OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2


def _info(values: argparse.Namespace) -> int:
    for path in _bags(values.bags):
        reader = BagReader(path)
        if values.json:
            _say(
                json.dumps(
                    {
                        "bag": str(path),
                        "seconds": round(reader.seconds, 3),
                        "bytes": reader.bytes,
                        "topics": reader.counts,
                        "origin": reader.custom,
                    }
                )
            )
            continue
        _say(f"{path}: {reader.seconds:.1f} s, {reader.bytes / 1e6:.1f} MB")
        width = max((len(name) for name in reader.counts), default=0)
        for name, count in sorted(reader.counts.items()):
            rate = count / reader.seconds if reader.seconds > 0 else 0.0
            _say(f"  {name:{width}}  {count:7d}  {rate:6.1f} Hz  {reader.topics[name].type}")
        for name, value in sorted(reader.custom.items()):
            _say(f"  {name}: {value}")
    return 0


def _check(values: argparse.Namespace) -> int:
    roles = replace(Roles(), external=values.external, wrist=values.wrist)
    statistics = _statistics(values.statistics)
    worst = 100
    for path in _bags(values.bags):
        verdict = check_bag(path, roles=roles, statistics=statistics, pictures=not values.fast)
        worst = min(worst, verdict.score)
        if values.json:
            found = [asdict(f) | {"score": f.score} for f in verdict.findings]
            line = {"bag": str(path), "score": verdict.score, "findings": found}
            _say(json.dumps(line | {"notes": list(verdict.notes)}))
            continue
        _say(f"{path}: {verdict.score}/100 ({'; '.join(verdict.notes)})")
        for finding in verdict.findings:
            _say(f"  {finding.score:3d}  {finding.check}: {finding.sentence}")
        if not verdict.findings:
            _say("  no faults found")
    return 0 if worst >= BELOW else 1


def _recover(values: argparse.Namespace) -> int:
    status = 0
    for root in values.bags:
        unfinished = find_unfinished(root) or [root]
        if unfinished == [root] and not list(root.glob("*.mcap")):
            _say(f"{root}: nothing to recover")
            continue
        for folder in unfinished:
            try:
                _say(f"recovered {recover(folder).sentence}")
            except BadBag as problem:
                sys.stderr.write(f"{problem}\n")
                status = 2
    return status


def _play(values: argparse.Namespace) -> int:
    from molmoact_ros.nodes.bag_player_node import PlayOptions, play

    options = PlayOptions(
        playback=Playback(values.rate, values.start),
        commands=values.commands,
        raw_pictures=not values.compressed,
        restamp=values.restamp,
        loop=values.loop,
        topics=tuple(values.topics),
    )
    count, skipped = play(values.bag, options)
    _say(f"{count} messages played")
    for name, why in sorted(skipped.items()):
        _say(f"  not played: {name}: {why}")
    return 0


def _video(values: argparse.Namespace) -> int:
    from molmoact_ros.bags.film import make_film

    roles = replace(Roles(), external=values.external, wrist=values.wrist)
    source = BagObservations(BagReader(values.bag), roles, images=values.images)
    frames = make_film(source, values.out, values.fps, values.depth_weights)
    _say(f"{values.out}: {frames} frames")
    return 0


def _rerun(values: argparse.Namespace) -> int:
    from molmoact_ros.bags.rerun_export import export_rerun

    roles = replace(Roles(), external=values.external, wrist=values.wrist)
    source = BagObservations(BagReader(values.bag), roles, images=values.images)
    counts = export_rerun(source, values.out, values.fps, values.depth_weights)
    entries = sum(counts.values())
    _say(f"{values.out}: {entries} entries; look at it with: rerun {values.out}")
    return 0


def _statistics(path: str) -> ActionStatistics:
    if path:
        return read_statistics(Path(path))
    file = resources.files("molmoact_ros.policy.scripted") / "dataset_statistics.json"
    with resources.as_file(file) as found:
        return read_statistics(found)


def _bags(paths: Sequence[Path]) -> list[Path]:
    """Bags themselves, and the bags in folders. Raises BadBag for an empty folder."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir() and not (path / FILE).is_file():
            inside = [episode.folder for episode in list_episodes(path)]
            if not inside:
                raise BadBag(f"{path}: holds no bag; give a rosbag2 folder or a folder of them")
            found += inside
        else:
            found.append(path)
    return found


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


ACTIONS = {
    "info": _info,
    "check": _check,
    "recover": _recover,
    "play": _play,
    "video": _video,
    "rerun": _rerun,
}
