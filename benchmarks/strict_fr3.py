"""An FR3 without hand for franka-sim, made of the model inside the franky-sim wheel: no download.

Run by strict_streaming.py with the Python of the strict simulator: strict_fr3.py TARGET.xml
"""

from __future__ import annotations

import importlib.util
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path


def main(target: Path) -> None:
    spec = importlib.util.find_spec("franky_sim")
    assert spec is not None and spec.submodule_search_locations is not None
    assets = Path(spec.submodule_search_locations[0]) / "assets"
    root = ElementTree.parse(assets / "fr3.xml").getroot()
    compiler = root.find("compiler")
    assert compiler is not None
    compiler.set("meshdir", str(assets / "meshes"))
    for parent in root.iter():
        for child in list(parent):
            # The strict simulator mounts a hand of its own, or none.
            hand = child.tag == "body" and child.get("name") == "hand"
            if hand or child.tag in ("tendon", "equality", "keyframe"):
                parent.remove(child)
    actuators = root.find("actuator")
    assert actuators is not None
    for gear in list(actuators):
        if gear.tag == "general":
            actuators.remove(gear)
    ElementTree.ElementTree(root).write(target)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
