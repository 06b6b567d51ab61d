"""Which bags ``molmoact label`` has to label, so that one data set follows one card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from molmoact_ros.bags.episodes import read_episode
from molmoact_ros.bags.metadata import BadBag
from molmoact_ros.data.bag_source import bag_id
from molmoact_ros.data.card import DataCard
from molmoact_ros.data.label import episode_key
from molmoact_ros.data.row_card import unlike
from molmoact_ros.data.rows import LABELS, PICTURES, BadData, read_info


@dataclass(frozen=True)
class Plan:
    """todo: bag to its episode's file. problems: bag to the reason why it cannot be used."""

    todo: dict[Path, Path] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)


def make_plan(bags: Sequence[Path], out: Path, card: DataCard) -> Plan:
    """Bags given that are not labelled yet as ``card`` says, and those of ``out``'s other episodes.

    Raises BadData when ``out`` holds episodes of another card whose bags are not there.
    """
    plan = Plan()
    seen: dict[Path, Path] = {}
    for bag in bags:
        try:
            known = read_episode(bag)
        except BadBag as error:
            plan.problems[str(bag)] = str(error)
            continue
        path = _file(out, bag_id(bag, known.custom))
        if path in seen:
            if seen[path].resolve() != bag.resolve():
                plan.problems[str(bag)] = f"is the same episode as {seen[path]}; keep one of them"
            continue
        seen[path] = bag
        refused = known.outcome != "success" and card.success_required
        # An operator may change his mind about an episode that was labelled long ago.
        if refused or not path.is_file() or unlike(read_info(path), card):
            plan.todo[bag] = path
    _plan_others(plan, out, card, set(seen))
    return plan


def _plan_others(plan: Plan, out: Path, card: DataCard, seen: set[Path]) -> None:
    """Episodes of ``out`` whose bags were not given: label again what another card made."""
    strange: list[str] = []
    differing: set[str] = set()
    for path in sorted((out / LABELS).glob("*.parquet")):
        info = read_info(path)
        found = [] if path in seen else unlike(info, card)
        if not found:
            continue
        bag = Path(info.get("source", ""))
        if _is_episode(bag, path, out):
            plan.todo[bag] = path
            continue
        strange.append(info.get("source", path.name))
        differing.update(found)
    if strange:
        raise BadData(
            f"{out}: holds {len(strange)} episodes of another card ({strange[0]}"
            f"{', ...' if len(strange) > 1 else ''}): {'; '.join(sorted(differing))}. Give their "
            "bags again, or the card they were labelled with, or another folder"
        )


def forget(path: Path) -> None:
    """Delete an episode's labels and pictures."""
    path.unlink(missing_ok=True)
    for pack in (path.parent.parent / PICTURES).glob(f"{path.stem}.*"):
        pack.unlink()


def _is_episode(bag: Path, path: Path, out: Path) -> bool:
    try:
        return _file(out, bag_id(bag, read_episode(bag).custom)) == path
    except BadBag:
        return False


def _file(out: Path, name: str) -> Path:
    return out / LABELS / f"{episode_key(name)}.parquet"
