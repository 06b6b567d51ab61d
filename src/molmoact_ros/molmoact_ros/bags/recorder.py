"""The recorder without ROS: when an episode starts, why it ends, what an operator is told.

``intake`` delivers messages from one thread, another calls everything else; saving has a thread
of its own. Times: a monotonic clock decides, the wall clock only names moments.
"""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path

from molmoact_ros.bags import provenance
from molmoact_ros.bags.audit import ClockWatch, disk_seconds, warnings
from molmoact_ros.bags.definitions import UnknownType, load_definition
from molmoact_ros.bags.episodes import existing, list_episodes, next_name, read_episode
from molmoact_ros.bags.events import EVENT, EpisodeEvent, Event
from molmoact_ros.bags.intake import Intake
from molmoact_ros.bags.label import OUTCOMES, label, set_values
from molmoact_ros.bags.metadata import BadBag, Topic
from molmoact_ros.bags.recorder_types import Ending, Refused, Result, Settings, State, View
from molmoact_ros.bags.recovery import recover
from molmoact_ros.bags.session import Session
from molmoact_ros.bags.take import Take
from molmoact_ros.reasoning.prompts import BadInstruction, check_instruction


class Recorder:
    """Call ``poll`` about ten times a second. ``events`` collects what should be published."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.intake = Intake(settings.specs)
        self.session = Session()
        self.session.restore((e.name, e.task, e.outcome) for e in list_episodes(settings.root))
        self.state = State.IDLE
        self.result: Result | None = None
        self.saved = threading.Event()
        self.events: list[EpisodeEvent] = []
        self._clock = ClockWatch()
        self._clock_note = ""
        self._take: Take | None = None
        self._lock = threading.Lock()
        self._episode = self._task = self._operator = self._path = ""
        self._started = self._ended = self._limit = 0.0
        self._detail = "ready: start an episode"

    def start(self, task: str = "", operator: str = "", max_duration: float = 0.0) -> str:
        """Begin an episode; its id. Raises Refused."""
        if self.state in (State.RECORDING, State.SAVING):
            raise Refused(f"{self._episode} is {self.state.name.lower()}: stop it first")
        task = " ".join((task or self.session.task).split())
        try:
            check_instruction(task)
        except BadInstruction as bad:
            raise Refused(f"no episode without an instruction: {bad}") from bad
        now = time.monotonic()
        if refusal := self.intake.refusal(now):
            raise Refused(refusal)
        operator = operator or self.session.operator
        try:
            name, take, origin = self._open(task, operator)
        except (BadBag, UnknownType, OSError) as error:
            raise Refused(f"the episode cannot be written: {error}") from error
        self._episode, self._task, self._operator = name, task, operator
        self._path, self._clock_note = str(take.writer.path), ""
        self._started, self._limit = now, max_duration
        self.saved.clear()
        self.intake.set_start(now)
        self._mark(take, Event.STARTED, text=provenance.as_json(origin))
        self.intake.connect(take)
        with self._lock:
            self._take = take
            self.state, self._detail = State.RECORDING, f"recording: {task}"
        return name

    def _open(self, task: str, operator: str) -> tuple[str, Take, dict[str, str]]:
        settings = self.settings
        settings.root.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(settings.root).free < 2 * settings.reserve:
            raise Refused(f"the disk of {settings.root} is almost full: free some space first")
        name = next_name(settings.root)
        origin = provenance.Provenance(
            episode_id=name,
            task=task,
            operator=operator,
            scene=self.session.scene,
            robot=settings.robot,
            **provenance.software(),
            **self.intake.context.provenance(task, settings.cameras),
        ).values()
        rates = [f"{spec.name}={spec.rate:g}" for spec in settings.specs if spec.rate]
        origin["expected_rates"] = ",".join(rates)
        event = Topic(settings.event_topic, EVENT, load_definition(EVENT).hash)
        take = Take(
            settings.root / name,
            [*self.intake.topics, event],
            origin,
            settings.codec,
            workers=settings.workers,
            reserve=settings.reserve,
        )
        take.start()
        return name, take, origin

    def finish(self, ending: Ending, message: str, outcome: str = "", note: str = "") -> None:
        """End the running episode; saving goes on in its own thread. Raises Refused."""
        with self._lock:
            take = self._take
            if take is None:
                raise Refused("no episode is running: start one first")
            self._take = None
            self.intake.disconnect()
            self.state, self._detail = State.SAVING, "saving"
            self._ended = time.monotonic()
        self._mark(take, Event.STOPPED, text=message)
        values = {"ended": ending.name.lower(), "ended_because": message}
        values |= {"outcome": outcome} if outcome else {}
        values |= {"note": note} if note else {}
        threading.Thread(
            target=self._save, args=(take, ending, message, values), name="saving", daemon=True
        ).start()

    def label(self, episode_id: str, outcome: str, note: str = "") -> str:
        """outcome "" adds a note only. A label during a take ends it. Raises Refused."""
        if outcome and outcome not in OUTCOMES:
            raise Refused(f"outcome '{outcome}': use one of {', '.join(OUTCOMES)}")
        running = self._take
        if running is not None and episode_id in ("", self._episode):
            if not outcome:
                self._mark(running, Event.NOTE, text=note)
                return "noted"
            self.finish(Ending.STOPPED, f"labelled {outcome}", outcome, note)
            return f"{self._episode}: {outcome}"
        if self.state == State.SAVING and not self.saved.wait(20.0):
            raise Refused("the last episode is still being saved: label it in a moment")
        name = episode_id or self._episode
        if not name or Path(name).name != name:
            raise Refused(f"no episode '{name}': record one first")
        try:
            custom = label(self.settings.root / name, outcome, note)
        except (BadBag, OSError) as error:
            raise Refused(f"{name} cannot be labelled: {error}") from error
        number = OUTCOMES.index(outcome) if outcome else 255
        kind = Event.LABELLED if outcome else Event.NOTE
        task = custom.get("task", "")
        self.events.append(
            EpisodeEvent(time.time_ns(), kind, name, task, self._operator, number, note)
        )
        self._labelled(name, custom.get("task", ""), custom.get("outcome", ""))
        return f"{name}: {outcome or 'noted'}"

    def poll(self) -> None:
        """Look for reasons to end the running episode."""
        now = time.monotonic()
        jump = self._clock.look(time.time(), now)
        if jump:
            self._clock_note = (
                f"this computer's clock was set by {jump:+.1f} s during the take; stamps before "
                "and after do not agree: discard this episode, and let chrony settle first"
            )
        take = self._take
        if take is None:
            return
        lost = self.intake.lost(now)
        if take.disk_full:
            self.finish(Ending.DISK_FULL, f"the disk of {self.settings.root} is full: free space")
        elif take.failure:
            self.finish(Ending.WRITER_ERROR, take.failure)
        elif lost:
            self.finish(Ending.TOPIC_LOST, lost)
        elif self._limit and now - self._started >= self._limit:
            self.finish(Ending.TIMED_OUT, f"{self._limit:.0f} s are over")

    def view(self) -> View:
        """A picture of this moment."""
        now = time.monotonic()
        take = self._take
        reports = self.intake.reports(now, take)
        recording = self.state == State.RECORDING
        elapsed = (now if recording else self._ended) - self._started if self._episode else 0.0
        written = take.writer.bytes_written if take is not None else 0
        try:
            free = shutil.disk_usage(existing(self.settings.root)).free
        except OSError:
            free = 0
        told = [self._clock_note] if self._clock_note else []
        return View(
            state=self.state,
            episode_id=self._episode,
            task=self._task or self.session.task,
            operator=self._operator or self.session.operator,
            elapsed=elapsed,
            messages=sum(r.messages for r in reports),
            dropped=sum(r.dropped for r in reports),
            bytes_written=written,
            bytes_free=free,
            seconds_free=disk_seconds(
                free, written / elapsed if recording and elapsed > 1.0 else 0.0,
                self.settings.reserve,
            ),
            bag_path=self._path,
            detail=self._detail,
            warnings=(*told, *warnings(reports)),
            topics=reports,
        )  # fmt: skip

    def close(self) -> None:
        """End a running episode and wait until it is on the disk."""
        if self._take is not None:
            self.finish(Ending.STOPPED, "the recorder was shut down")
        if self.state == State.SAVING:
            self.saved.wait(30.0)

    def _mark(self, take: Take, event: Event, text: str = "") -> None:
        now = time.monotonic()
        mark = EpisodeEvent(
            time.time_ns(), event, self._episode, self._task, self._operator, text=text
        )
        log_ns = self.intake.log_ns(now)
        take.put(self.settings.event_topic, log_ns, log_ns, mark.serialized())
        self.events.append(mark)

    def _save(self, take: Take, ending: Ending, message: str, values: dict[str, str]) -> None:
        reports = self.intake.reports(time.monotonic(), take)
        path = take.stop({**values, "dropped": str(sum(take.dropped.values()))})
        if take.error:
            ending = ending if ending == Ending.DISK_FULL else Ending.WRITER_ERROR
            message = f"{message}; {take.error}"
            try:
                path = recover(path).folder
                set_values(
                    path, {**read_episode(path).custom, **values, "ended": ending.name.lower()}
                )
            except (BadBag, OSError) as error:
                message += f"; run molmoact bag recover: {error}"
        outcome = values.get("outcome", "")
        self.result = Result(self._episode, ending, message, path, reports)
        self._path = str(path)
        self.state = State.UNLABELLED
        self._detail = f"{self._episode} saved ({message}): label it success or failure"
        self._labelled(self._episode, self._task, outcome)
        self.saved.set()

    def _labelled(self, name: str, task: str, outcome: str) -> None:
        self.session.recorded(name, task, outcome)
        if name == self._episode and outcome:
            self.state = State.IDLE
            self._detail = self.session.prompt or f"{name}: {outcome}; ready for the next take"
