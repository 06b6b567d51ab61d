"""Decimated arm meshes: lighter, the same shape, and never a reason to fail."""

from __future__ import annotations

import logging
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from molmoact_ros.sim import meshes, scene
from molmoact_ros.sim.layout import scene_spec


def _sphere(rings: int = 40) -> tuple[np.ndarray, np.ndarray]:
    points, faces = [], []
    for i in range(rings + 1):
        for j in range(rings):
            a, b = np.pi * i / rings, 2 * np.pi * j / rings
            points.append([np.sin(a) * np.cos(b), np.sin(a) * np.sin(b), np.cos(a)])
            if i < rings:
                k, n = i * rings + j, i * rings + (j + 1) % rings
                faces += [[k, k + rings, n], [n, k + rings, n + rings]]
    # The size of a link: decimation bounds its error in metres.
    return 0.1 * np.array(points), np.array(faces)


def test_decimation_keeps_the_shape() -> None:
    points, faces = _sphere()
    light_points, light_faces = meshes.decimate(points, faces, 0.25)
    assert len(light_faces) < 0.4 * len(faces)
    radius = np.linalg.norm(light_points, axis=1)
    assert radius.min() > 0.098 and radius.max() < 0.102


def test_obj_files_come_back(tmp_path: Path) -> None:
    """Quads, negative indices and split seams are what exporters write."""
    path = tmp_path / "quad.obj"
    path.write_text(
        "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nv 0 0 0\nvn 0 0 1\nf 1//1 2//1 3//1 4//1\nf -1 -4 -3\n"
    )
    points, faces = meshes.read_obj(path)
    assert len(points) == 4
    assert len(faces) == 3
    meshes.write_obj(tmp_path / "again.obj", points, faces)
    again_points, again_faces = meshes.read_obj(tmp_path / "again.obj")
    np.testing.assert_allclose(again_points, points)
    np.testing.assert_array_equal(again_faces, faces)


def test_creases_stay_sharp_and_round_parts_smooth() -> None:
    """One averaged normal a point would make boxes look inflated."""
    corner = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=float)
    fold = np.array([[0, 1, 2], [0, 3, 1]])
    sharp = meshes.corner_normals(corner, fold)
    np.testing.assert_allclose(sharp[0], np.tile([0, 0, 1], (3, 1)), atol=1e-12)
    np.testing.assert_allclose(sharp[1], np.tile([0, 1, 0], (3, 1)), atol=1e-12)
    points, faces = _sphere()
    smooth = meshes.corner_normals(points, faces)
    cosine = (smooth * points[faces]).sum(axis=2) / 0.1
    area = np.linalg.norm(
        np.cross(
            points[faces[:, 1]] - points[faces[:, 0]], points[faces[:, 2]] - points[faces[:, 0]]
        ),
        axis=1,
    )
    assert cosine[area > 1e-11].min() > 0.98


def test_copies_are_made_once_and_point_to_whole_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    source = tmp_path / "wheel"
    source.mkdir()
    points, faces = _sphere()
    meshes.write_obj(source / "link_0_vis.obj", points, faces)
    root = ET.fromstring(
        f'<mujoco><compiler meshdir="{source}"/><asset><mesh file="link_0_vis.obj"/>'
        '<mesh file="link0_coll.stl"/></asset></mujoco>'
    )
    assert meshes.use_light_meshes(root)
    visual, collision = (mesh.get("file") or "" for mesh in root.iter("mesh"))
    assert collision == "link0_coll.stl"
    assert tmp_path in Path(visual).parents
    assert len(meshes.read_obj(Path(visual))[1]) < 0.4 * len(faces)
    (source / "link_0_vis.obj").unlink()  # the second time nothing is read any more
    assert meshes.light_mesh_folder(source, ["link_0_vis.obj"]) == Path(visual).parent
    leftovers = [p for p in Path(visual).parent.parent.iterdir() if p != Path(visual).parent]
    assert leftovers == []


def test_without_a_cache_the_originals_are_used_and_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A read-only home must cost speed, not the demo."""
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    tree = scene.build_tree(scene_spec(0))
    before = [mesh.get("file") for mesh in tree.iter("mesh")]
    with caplog.at_level(logging.WARNING):
        assert not meshes.use_light_meshes(tree)
    assert [mesh.get("file") for mesh in tree.iter("mesh")] == before
    assert "fast-simplification" in caplog.text and str(blocked) in caplog.text
