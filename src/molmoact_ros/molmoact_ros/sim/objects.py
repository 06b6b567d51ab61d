"""What can stand on the table: names, sizes, masses and their MJCF bodies.

Every scene holds the same bodies in the same order, so that one compiled model serves
every seed: a reset moves and recolours bodies, it never adds any. Distractors a seed does
not use are parked out of sight. Lengths are metres, masses kilograms; the table top is z = 0.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from dataclasses import dataclass

COLOURS = ("red", "green", "blue", "yellow")
CUBES = tuple(f"{colour}_cube" for colour in COLOURS)
PLATE = "plate"
BOWL = "bowl"
DISTRACTORS = ("distractor_cylinder", "distractor_ball", "distractor_box")
OBJECTS = (*CUBES, PLATE, BOWL, *DISTRACTORS)

CUBE_SIZE = 0.04
PLATE_RADIUS = 0.08
PLATE_HEIGHT = 0.012
PLATE_FLOOR = 0.005
BOWL_RADIUS = 0.065
BOWL_HEIGHT = 0.048
BOWL_FLOOR = 0.006
BOWL_INNER_FLOOR_RADIUS = 0.042

# Priority 1 makes MuJoCo use these numbers instead of the average with the finger's or
# the table's: a grasp must not depend on how the partner geom was declared.
_GRIPPY = {"friction": "1.5 0.02 0.0005", "condim": "4", "solref": "0.004 1", "priority": "1"}
_DISH = {"friction": "1.2 0.02 0.0005", "condim": "4", "solref": "0.004 1"}
_COLLISION = {"group": "3", "mass": "0"}
_VISUAL = {"group": "2", "contype": "0", "conaffinity": "0", "mass": "0"}


@dataclass(frozen=True)
class Footprint:
    """Resting height of the body origin, and radius of the circle around it, on the table."""

    rest_height: float
    radius: float


FOOTPRINTS: dict[str, Footprint] = {
    **{cube: Footprint(CUBE_SIZE / 2, CUBE_SIZE / math.sqrt(2)) for cube in CUBES},
    PLATE: Footprint(0.0, PLATE_RADIUS),
    BOWL: Footprint(0.0, BOWL_RADIUS),
    "distractor_cylinder": Footprint(0.0225, 0.02),
    "distractor_ball": Footprint(0.021, 0.021),
    "distractor_box": Footprint(0.0175, 0.032),
}


def joint_name(name: str) -> str:
    """The free joint of object ``name``."""
    return f"{name}_joint"


def looks_geom(name: str) -> str:
    """The geom whose rgba is the colour of object ``name``."""
    return f"{name}_looks"


def add_objects(root: ET.Element) -> None:
    """Append all object bodies (and the meshes of plate and bowl) to an MJCF tree.

    ``root`` is the ``<mujoco>`` element with ``<worldbody>`` and ``<asset>``. Bodies start
    at the origin; ``scene.place_objects`` puts them where a scene wants them.
    """
    world, assets = _child(root, "worldbody"), _child(root, "asset")
    for cube in CUBES:
        half = f"{CUBE_SIZE / 2} " * 3
        _geom(_body(world, cube), cube, type="box", size=half, mass="0.06", **_GRIPPY)
    _add_plate(world, assets)
    _add_bowl(world, assets)
    cylinder = _body(world, "distractor_cylinder")
    _geom(
        cylinder,
        "distractor_cylinder",
        type="cylinder",
        size="0.02 0.0225",
        mass="0.08",
        **_GRIPPY,
    )
    ball = {**_GRIPPY, "condim": "6", "friction": "1.5 0.02 0.002"}
    _geom(
        _body(world, "distractor_ball"),
        "distractor_ball",
        type="sphere",
        size="0.021",
        mass="0.05",
        **ball,
    )
    _geom(
        _body(world, "distractor_box"),
        "distractor_box",
        type="box",
        size="0.027 0.017 0.0175",
        mass="0.08",
        **_GRIPPY,
    )


def _add_plate(world: ET.Element, assets: ET.Element) -> None:
    outline = [
        (0.0, 0.0), (0.052, 0.0), (0.058, 0.002), (PLATE_RADIUS - 0.001, 0.0095),
        (PLATE_RADIUS, PLATE_HEIGHT - 0.001), (PLATE_RADIUS - 0.002, PLATE_HEIGHT),
        (0.060, PLATE_FLOOR + 0.0015), (0.055, PLATE_FLOOR), (0.0, PLATE_FLOOR),
    ]  # fmt: skip
    _lathe_asset(assets, PLATE, outline)
    body = _body(world, PLATE)
    _inertial(body, mass=0.6, radius=PLATE_RADIUS, height=PLATE_HEIGHT)
    _geom(body, PLATE, type="mesh", mesh=f"{PLATE}_mesh", **_VISUAL)
    half = PLATE_FLOOR / 2
    _collider(body, type="cylinder", size=f"0.06 {half}", pos=f"0 0 {half}")
    _ring(body, 20, bottom=(0.056, 0.003), top=(PLATE_RADIUS - 0.001, 0.0105), thickness=0.003)


def _add_bowl(world: ET.Element, assets: ET.Element) -> None:
    outline = [
        (0.0, 0.0), (0.040, 0.0), (0.046, 0.004), (0.058, 0.022), (BOWL_RADIUS, 0.044),
        (BOWL_RADIUS, BOWL_HEIGHT - 0.001), (BOWL_RADIUS - 0.002, BOWL_HEIGHT),
        (BOWL_RADIUS - 0.005, 0.044), (0.053, 0.022), (BOWL_INNER_FLOOR_RADIUS, BOWL_FLOOR),
        (0.0, BOWL_FLOOR),
    ]  # fmt: skip
    _lathe_asset(assets, BOWL, outline)
    body = _body(world, BOWL)
    _inertial(body, mass=0.5, radius=BOWL_RADIUS, height=BOWL_HEIGHT)
    _geom(body, BOWL, type="mesh", mesh=f"{BOWL}_mesh", **_VISUAL)
    half = BOWL_FLOOR / 2
    _collider(body, type="cylinder", size=f"0.043 {half}", pos=f"0 0 {half}")
    _ring(body, 16, bottom=(0.044, 0.003), top=(0.0555, 0.022), thickness=0.005)
    _ring(body, 16, bottom=(0.0555, 0.022), top=(0.0625, 0.0475), thickness=0.005)


def _ring(
    body: ET.Element,
    count: int,
    bottom: tuple[float, float],
    top: tuple[float, float],
    thickness: float,
) -> None:
    """Wall of ``count`` boxes between two circles given as (radius, z): contacts of a dish."""
    (r0, z0), (r1, z1) = bottom, top
    length, tilt = math.hypot(r1 - r0, z1 - z0), math.atan2(r1 - r0, z1 - z0)
    # Half a chord of the outer circle, so that neighbours overlap instead of leaving gaps.
    half_width = max(r0, r1) * math.tan(math.pi / count) + 0.0005
    size = f"{thickness / 2} {half_width} {length / 2}"
    for i in range(count):
        angle = 2 * math.pi * i / count
        radius, height = (r0 + r1) / 2, (z0 + z1) / 2
        # Rz(angle) Ry(tilt) as a quaternion (w x y z).
        ca, sa = math.cos(angle / 2), math.sin(angle / 2)
        ct, st = math.cos(tilt / 2), math.sin(tilt / 2)
        _collider(
            body,
            type="box",
            size=size,
            pos=f"{radius * math.cos(angle)} {radius * math.sin(angle)} {height}",
            quat=f"{ca * ct} {-sa * st} {ca * st} {sa * ct}",
        )


def _lathe_asset(assets: ET.Element, name: str, outline: list[tuple[float, float]]) -> None:
    """Mesh asset ``<name>_mesh``: a closed outline of (radius, z) turned about z."""
    segments, vertices, faces = 48, [], []
    for radius, z in outline:
        for i in range(segments):
            angle = 2 * math.pi * i / segments
            vertices.append((radius * math.cos(angle), radius * math.sin(angle), z))
    for ring in range(len(outline) - 1):
        for i in range(segments):
            a, b = ring * segments + i, ring * segments + (i + 1) % segments
            c, d = a + segments, b + segments
            if outline[ring][0] > 0:
                faces.append((a, b, d))
            if outline[ring + 1][0] > 0:
                faces.append((a, d, c))
    ET.SubElement(
        assets,
        "mesh",
        name=f"{name}_mesh",
        vertex=" ".join(f"{v:.5f}" for vertex in vertices for v in vertex),
        face=" ".join(str(i) for face in faces for i in face),
    )


def _child(root: ET.Element, tag: str) -> ET.Element:
    found = root.find(tag)
    if found is None:
        raise ValueError(
            f"The MJCF tree has no <{tag}> element; pass MujocoSimulator().scene after init()."
        )
    return found


def _body(world: ET.Element, name: str) -> ET.Element:
    body = ET.SubElement(world, "body", name=name)
    ET.SubElement(body, "freejoint", name=joint_name(name))
    return body


def _inertial(body: ET.Element, mass: float, radius: float, height: float) -> None:
    # A solid cylinder of the same outline: heavy enough that a released cube does not move it.
    flat = mass * (3 * radius**2 + height**2) / 12
    ET.SubElement(
        body,
        "inertial",
        pos=f"0 0 {height / 3}",
        mass=str(mass),
        diaginertia=f"{flat} {flat} {mass * radius**2 / 2}",
    )


def _geom(body: ET.Element, name: str, **attributes: str) -> None:
    ET.SubElement(body, "geom", {"name": looks_geom(name), **attributes})


def _collider(body: ET.Element, **attributes: str) -> None:
    ET.SubElement(body, "geom", {**_COLLISION, **_DISH, **attributes})
