"""The scaling of the simulated robot's actions: a chosen range, kept as package data."""

from __future__ import annotations

from importlib import resources

from molmoact_ros.reasoning.statistics import ActionStatistics, read_statistics

KEY = "molmoact_ros_sim"
GRIPPER_RAW = "1open_0closed"


def sim_statistics() -> ActionStatistics:
    """Statistics under KEY: +-0.02 m and +-0.1 rad a row, gripper unscaled (1 open, 0 closed)."""
    file = resources.files("molmoact_ros.policy.scripted") / "dataset_statistics.json"
    with resources.as_file(file) as path:
        return read_statistics(path, KEY)
