"""The simulated table: one MJCF for physics and rendering, recoloured and re-laid per seed.

The arm comes from the franky-sim wheel; this module adds the room, the table, the objects
(``objects``) and the cameras (``cameras``) to its tree. The compiled model depends on no
seed, so ``apply_spec`` serves a reset in a running process. Base frame fr3_link0; table top
z = 0; metres.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET

import mujoco
import numpy as np
from franky_sim.mujoco_simulator import MujocoSimulator

from molmoact_ros.geometry import Floats, Pose
from molmoact_ros.sim.cameras import CameraSetup, mujoco_quaternion
from molmoact_ros.sim.layout import PARKING, SceneSpec, scene_spec
from molmoact_ros.sim.objects import OBJECTS, add_objects, joint_name, looks_geom

__all__ = [
    "HOME_Q",
    "HOME_TCP",
    "SceneSpec",
    "add_tabletop",
    "apply_looks",
    "apply_spec",
    "build_model",
    "build_tree",
    "hand_pose",
    "object_poses",
    "place_objects",
    "scene_spec",
    "tcp_pose",
]

# Solved numerically once: TCP at HOME_TCP with the hand's z axis straight down.
HOME_Q = (0.0, -0.259432, 0.0, -2.431485, 0.0, 2.172053, 0.785398)
HOME_TCP = (0.45, 0.0, 0.30)
HAND_BODY = "robot0_hand"
HAND_TO_TCP = 0.1034  # Franka Hand user manual; franky's F_T_EE of the same hand.

_FLOOR_Z = PARKING[2]


def build_tree(spec: SceneSpec) -> ET.Element:
    """The whole MJCF tree, arm at ``HOME_Q`` excluded (MJCF has no joint start here)."""
    simulator = MujocoSimulator()
    simulator.init()
    simulator.add_robot(initial_q=HOME_Q)
    add_tabletop(simulator.scene, spec)
    return simulator.scene


def build_model(spec: SceneSpec) -> mujoco.MjModel:
    """Compile the scene with original meshes. Takes about a second."""
    return mujoco.MjModel.from_xml_string(ET.tostring(build_tree(spec), encoding="unicode"))


def add_tabletop(root: ET.Element, spec: SceneSpec) -> None:
    """Turn franky-sim's tree into our scene; call between ``add_robot`` and ``start``.

    ``root`` is ``MujocoSimulator().scene``. Changes it in place: replaces ground and
    lights, adds room, table, objects at the poses of ``spec``, and both cameras.
    Raises ValueError when the tree holds no robot hand yet.
    """
    world, visual, assets = root.find("worldbody"), root.find("visual"), root.find("asset")
    hand = next((b for b in root.iter("body") if b.get("name") == HAND_BODY), None)
    if world is None or visual is None or assets is None or hand is None:
        raise ValueError(
            f"The tree has no body '{HAND_BODY}'; call simulator.init() and add_robot() "
            "before add_tabletop(simulator.scene, spec)."
        )
    for element in [*world.findall("light"), *world.findall("geom")]:
        world.remove(element)
    _contact_solver(root)
    _add_looks(visual, assets)
    _add_room(world)
    add_objects(root)
    for body in world.findall("body"):
        pose = spec.poses.get(body.get("name", ""))
        if pose is not None:
            body.set("pos", _text(pose.position))
            body.set("quat", _text(np.roll(pose.quaternion, 1)))
    for setup, parent in ((spec.external, world), (spec.wrist, hand)):
        ET.SubElement(
            parent,
            "camera",
            name=setup.name,
            pos=_text(setup.position),
            quat=_text(mujoco_quaternion(setup)),
            fovy=str(setup.fovy),
        )


def apply_spec(model: mujoco.MjModel, data: mujoco.MjData, spec: SceneSpec) -> None:
    """Give a running scene another seed: poses, colours, light, cameras. The arm stays."""
    apply_looks(model, spec)
    place_objects(model, data, spec)


def apply_looks(model: mujoco.MjModel, spec: SceneSpec) -> None:
    """Colours, light and cameras only: what a renderer needs; poses come to it in qpos."""
    for name in OBJECTS:
        alpha = 0.0 if name in spec.hidden else 1.0
        model.geom(looks_geom(name)).rgba[:] = (*spec.colours[name], alpha)
    model.material("table").rgba[:3] = spec.table
    model.material("wall").rgba[:3] = spec.wall
    key = model.light("key")
    key.dir[:] = spec.light.direction
    # Shadows (picture quality only) are cast from the light's position.
    key.pos[:] = np.array([0.45, 0.0, 0.0]) - 2.0 * np.array(spec.light.direction)
    key.diffuse[:] = spec.light.colour
    for setup in (spec.external, spec.wrist):
        _move_camera(model, setup)


def place_objects(model: mujoco.MjModel, data: mujoco.MjData, spec: SceneSpec) -> None:
    """Set every object's pose, at rest, and run mj_forward. The arm's state is untouched."""
    for name in OBJECTS:
        joint, pose = data.joint(joint_name(name)), spec.poses[name]
        joint.qpos[:3], joint.qpos[3:] = pose.position, np.roll(pose.quaternion, 1)
        joint.qvel[:] = 0.0
    mujoco.mj_forward(model, data)


def object_poses(data: mujoco.MjData) -> dict[str, Pose]:
    """Ground truth: pose of every object body in the base frame (for scoring only)."""
    return {
        name: Pose(data.body(name).xpos.copy(), np.roll(data.body(name).xquat, -1))
        for name in OBJECTS
    }


def hand_pose(data: mujoco.MjData) -> Floats:
    """Pose [4, 4] of fr3_hand in the base frame."""
    body = data.body(HAND_BODY)
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = body.xmat.reshape(3, 3), body.xpos
    return matrix


def tcp_pose(data: mujoco.MjData) -> Pose:
    """Pose of fr3_hand_tcp, between the finger tips, in the base frame."""
    matrix = hand_pose(data)
    matrix[:3, 3] += HAND_TO_TCP * matrix[:3, 2]
    return Pose.from_matrix(matrix)


def _move_camera(model: mujoco.MjModel, setup: CameraSetup) -> None:
    camera = model.camera(setup.name)
    camera.pos[:], camera.quat[:] = setup.position, mujoco_quaternion(setup)
    camera.fovy[:] = setup.fovy


def _contact_solver(root: ET.Element) -> None:
    option = root.find("option")
    if option is None:
        option = ET.SubElement(root, "option")
    # Elliptic cones with a high impedance ratio keep a grasped cube from creeping out.
    option.set("cone", "elliptic")
    option.set("impratio", "10")


def _add_looks(visual: ET.Element, assets: ET.Element) -> None:
    quality = visual.find("quality")
    if quality is None:
        quality = ET.SubElement(visual, "quality")
    # Software OpenGL: multi-sampling and shadow maps cost more than everything else together.
    quality.set("offsamples", "0")
    quality.set("shadowsize", "2048")
    headlight = visual.find("headlight")
    if headlight is not None:
        headlight.set("ambient", "0.27 0.27 0.27")
        headlight.set("diffuse", "0.12 0.12 0.12")
    ET.SubElement(visual, "map", znear="0.01", zfar="10", shadowclip="0.35")
    ET.SubElement(visual, "global", offwidth="1280", offheight="960")
    for material in assets.findall("material"):
        material.set("specular", "0.15")
        material.set("shininess", "0.2")
    flat = {"type": "2d", "builtin": "flat", "rgb1": "1 1 1", "width": "512", "height": "512"}
    ET.SubElement(assets, "texture", {"name": "wood", **flat})
    matte = {"specular": "0.05", "shininess": "0.1"}
    ET.SubElement(
        assets, "material", {"name": "table", "texture": "wood", "rgba": "0.8 0.7 0.6 1", **matte}
    )
    for name, rgba in (
        ("wall", "0.8 0.8 0.82 1"),
        ("floor", "0.42 0.43 0.45 1"),
        ("frame", "0.25 0.26 0.28 1"),
    ):
        ET.SubElement(assets, "material", {"name": name, "rgba": rgba, **matte})


def _add_room(world: ET.Element) -> None:
    directional = {"directional": "true", "specular": "0.1 0.1 0.1", "ambient": "0 0 0"}
    ET.SubElement(world, "light", {"name": "key", "diffuse": "0.6 0.6 0.6", **directional})
    fill = {**directional, "castshadow": "false", "dir": "-0.6 -0.35 -0.5"}
    ET.SubElement(world, "light", {"name": "fill", "diffuse": "0.18 0.18 0.20", **fill})
    box = {"type": "box", "friction": "1 0.02 0.0005"}
    ET.SubElement(
        world,
        "geom",
        {**box, "name": "table", "size": "0.6 0.62 0.02", "pos": "0.34 0 -0.02"},
        material="table",
    )
    seen = {"contype": "0", "conaffinity": "0", "material": "frame", "type": "box"}
    ET.SubElement(world, "geom", {**seen, "size": "0.14 0.12 0.002", "pos": "-0.03 0 0.0005"})
    for x in (-0.2, 0.88):
        for y in (-0.56, 0.56):
            ET.SubElement(
                world, "geom", {**seen, "size": "0.03 0.03 0.34", "pos": f"{x} {y} -0.38"}
            )
    plane = {"type": "plane", "size": "4 4 0.1"}
    ET.SubElement(
        world, "geom", {**plane, "name": "floor", "pos": f"0 0 {_FLOOR_Z}", "material": "floor"}
    )
    bare = {**plane, "contype": "0", "conaffinity": "0", "material": "wall"}
    for pos, axes in (
        (f"-1.5 0 {_FLOOR_Z}", "0 1 0 0 0 1"),
        (f"0 -1.9 {_FLOOR_Z}", "-1 0 0 0 0 1"),
    ):
        ET.SubElement(world, "geom", {**bare, "pos": pos, "xyaxes": axes})


def _text(values: object) -> str:
    return " ".join(f"{float(v):.9g}" for v in np.asarray(values).ravel())
