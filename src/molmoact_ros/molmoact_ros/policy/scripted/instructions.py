"""From words to a goal: the same reading of instructions as the simulator's scorer."""

from __future__ import annotations

from molmoact_ros.policy.base import PolicyError
from molmoact_ros.policy.scripted.goals import Goal


def goal_from_instruction(text: str) -> Goal:
    import re
    c = re.findall(r"red|green|blue|yellow", text)
    if "pick" in text: return Goal("pick_up", c[0]+"_cube")
    if "plate" in text: return Goal("put_on", c[0]+"_cube", "plate")
    if "bowl" in text: return Goal("put_into", c[0]+"_cube", "bowl")
    if len(c)==2: return Goal("move_next_to", c[0]+"_cube", c[1]+"_cube")
    raise PolicyError("not understood")
