"""Whether the task is done, by ground truth of the simulation: for scores and for nothing else."""

from __future__ import annotations

from molmoact_ros.sim.judge import Judge, Truth
from molmoact_ros.sim.shared import SnapshotError, SnapshotReader, snapshot_name
from molmoact_ros.sim.tasks import InstructionError, understand


class Scorer:
    """Follows one task through the snapshots of the simulator at ``host``."""

    def __init__(self, host: str, instruction: str) -> None:
        self._reader = SnapshotReader(snapshot_name(host))
        self._judge: Judge | None = None
        self._why = ""
        try:
            self._judge = Judge(understand(instruction))
        except InstructionError as error:
            self._why = f"not scored: {error}"

    def update(self) -> bool:
        """Look once (call at 10 Hz or more); whether the task is done."""
        if self._judge is None:
            return False
        try:
            return self._judge.update(Truth.of(self._reader.read())).success
        except SnapshotError as error:
            self._why = str(error)
            return False

    def words(self) -> str:
        """What was found, for a person."""
        return self._why if self._judge is None else self._judge.verdict.words
