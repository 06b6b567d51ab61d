"""A training where it runs: how many processes, on what device, with which further data.

What a goal of the trainer node names is ``background.Wanted``; this is what its computer adds.
"""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass

from molmoact_ros.train.background import STOP_WAIT_S, Wanted
from molmoact_ros.train.recipe import BadRecipe

DEVICES = ("", "cpu", "cuda")
MOST_PROCESSES = 64


@dataclass(frozen=True)
class Launch(Wanted):
    """weights: a share for each data set, "0.9 0.1"; empty: the roots of their sizes.

    web: folder of ordinary pictures. device: empty for cuda if there is one. processes: on this
    computer, by torchrun. options: further words of the command, "--unchecked". Raises BadRecipe.
    """

    weights: str = ""
    web: str = ""
    device: str = ""
    processes: int = 1
    options: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.device not in DEVICES:
            raise BadRecipe(f"unknown device {self.device!r}; use cpu, cuda or nothing")
        if not 1 <= self.processes <= MOST_PROCESSES:
            raise BadRecipe(f"processes is {self.processes}; use 1 to {MOST_PROCESSES}")
        try:
            shares = [float(share) for share in self._shares]
        except ValueError as error:
            raise BadRecipe(f"weights {self.weights!r} must be numbers") from error
        if shares and len(shares) != len(self.folders):
            raise BadRecipe(
                f"weights {self.weights!r} are {len(shares)} shares for {len(self.folders)} data "
                "sets; give one for each, or none"
            )
        try:
            shlex.split(self.options)
        except ValueError as error:
            raise BadRecipe(f"options {self.options!r}: {error}; write a shell's words") from error

    @property
    def _shares(self) -> list[str]:
        return self.weights.replace(",", " ").split()

    @property
    def arguments(self) -> list[str]:
        """For ``molmoact train``."""
        words = super().arguments
        given = {"--weights": self._shares, "--web": [self.web], "--device": [self.device]}
        for name, values in given.items():
            words += [name, *values] if any(values) else []
        return words + shlex.split(self.options)

    @property
    def command(self) -> tuple[str, ...]:
        """What is started with these arguments."""
        train = ("-m", "molmoact_ros.cli", "train")
        if self.processes == 1:
            return (sys.executable, *train)
        many = (f"--nproc-per-node={self.processes}", f"--shutdown-timeout={int(STOP_WAIT_S)}")
        return (sys.executable, "-m", "molmoact_ros.train.torchrun", *many, *train)
