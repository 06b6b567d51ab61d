"""Lighter copies of the arm's visual meshes, for the renderer only.

Software OpenGL is bound by vertices and the wheel's FR3 has 242,000 faces. Quadric
decimation (Garland and Heckbert 1997, package fast-simplification) keeps the outline with a
tenth of them. Copies are kept in the user's cache, one folder per wheel version and recipe.
Physics never sees them.
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
import shutil
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

logger = logging.getLogger(__name__)

RECIPE = "3"  # Raise when anything below changes the files, so that old caches are ignored.
_SHARE = 0.12
_SHARE_NEAR_WRIST_CAMERA = 0.30
_FEWEST_FACES = 200
_CREASE_DEGREES = 38.0

Points = NDArray[np.float64]
Faces = NDArray[np.int64]


def cache_root() -> Path:
    """Folder for rebuildable files: $XDG_CACHE_HOME/molmoact_ros or ~/.cache/molmoact_ros."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "molmoact_ros"


def use_light_meshes(root: ET.Element) -> bool:
    """Point an MJCF tree's .obj meshes at decimated copies, making them on first use.

    Changes ``root`` in place and returns True. When the copies cannot be made (package
    missing, cache not writable) it warns, leaves the originals in place, returns False.
    """
    compiler = root.find("compiler")
    source = Path((compiler.get("meshdir") if compiler is not None else None) or ".")
    meshes = [m for m in root.iter("mesh") if (m.get("file") or "").endswith("_vis.obj")]
    try:
        folder = light_mesh_folder(source, [m.get("file", "") for m in meshes])
    except (ImportError, OSError) as error:
        logger.warning(
            "Rendering with the full-size arm meshes, several times slower: %s. "
            "Install fast-simplification and make %s writable.",
            error,
            cache_root(),
        )
        return False
    for mesh in meshes:
        mesh.set("file", str(folder / mesh.get("file", "")))
    return True


def light_mesh_folder(source: Path, names: list[str]) -> Path:
    """The cache folder with a decimated copy of every named OBJ file of ``source``.

    Raises ImportError without fast-simplification, OSError when the cache is not writable.
    """
    version = importlib.metadata.version("franky-sim")
    folder = cache_root() / "meshes" / f"franky-sim-{version}-recipe-{RECIPE}"
    if folder.is_dir() and all((folder / name).is_file() for name in names):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=folder.name, dir=folder.parent))
    try:
        for name in names:
            near = name.startswith(("hand", "finger"))
            share = _SHARE_NEAR_WRIST_CAMERA if near else _SHARE
            points, faces = decimate(*read_obj(source / name), share)
            write_obj(scratch / name, points, faces)
        _publish(scratch, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder


def decimate(points: Points, faces: Faces, share: float) -> tuple[Points, Faces]:
    """Points [N, 3] and triangles [M, 3] reduced to about ``share`` of the faces."""
    import fast_simplification

    target = max(_FEWEST_FACES, int(share * len(faces)))
    if len(faces) <= target:
        return points, faces
    reduction = 1.0 - target / len(faces)
    out_points, out_faces = fast_simplification.simplify(points, faces, reduction, agg=2)[:2]
    return np.asarray(out_points, dtype=np.float64), np.asarray(out_faces, dtype=np.int64)


def read_obj(path: Path) -> tuple[Points, Faces]:
    """Points [N, 3] and triangles [M, 3] of an OBJ file; equal points are merged.

    Merging closes the seams that exporters leave along creases; without it decimation
    would tear the surface open there.
    """
    points: list[list[float]] = []
    faces: list[tuple[int, int, int]] = []
    for line in path.read_text().splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "v":
            points.append([float(v) for v in rest.split()[:3]])
        elif kind == "f":
            corners = [int(c.split("/")[0]) for c in rest.split()]
            corners = [c - 1 if c > 0 else len(points) + c for c in corners]
            faces += [(corners[0], b, c) for b, c in zip(corners[1:], corners[2:], strict=False)]
    merged, index = np.unique(np.round(np.array(points), 6), axis=0, return_inverse=True)
    triangles = index.reshape(-1)[np.array(faces, dtype=np.int64)]
    distinct = (triangles != np.roll(triangles, 1, axis=1)).all(axis=1)
    return merged, triangles[distinct]


def write_obj(path: Path, points: Points, faces: Faces) -> None:
    """Write triangles with one normal a corner, so that creases stay sharp when lit."""
    normals = corner_normals(points, faces)
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in points]
    lines += [f"vn {x:.4f} {y:.4f} {z:.4f}" for x, y, z in normals.reshape(-1, 3)]
    for i, face in enumerate(faces + 1):
        lines.append("f " + " ".join(f"{v}//{3 * i + k + 1}" for k, v in enumerate(face)))
    path.write_text("\n".join(lines) + "\n")


def corner_normals(points: Points, faces: Faces) -> Points:
    """Unit normals [M, 3, 3] of every face's corners.

    A corner averages (by area) the faces around its point that lie within 38 degrees of
    its own face: round parts shade smoothly, edges stay edges.
    """
    area = np.cross(
        points[faces[:, 1]] - points[faces[:, 0]], points[faces[:, 2]] - points[faces[:, 0]]
    )
    unit = area / np.maximum(np.linalg.norm(area, axis=1, keepdims=True), 1e-12)
    corner_point = faces.reshape(-1)
    order = np.argsort(corner_point, kind="stable")
    counts = np.bincount(corner_point, minlength=len(points))
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    # All pairs (corner, face around the same point), laid out flat.
    repeats = counts[corner_point]
    corner = np.repeat(np.arange(len(corner_point)), repeats)
    step = np.arange(len(corner)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    neighbour = order[starts[corner_point[corner]] + step] // 3
    close = (unit[corner // 3] * unit[neighbour]).sum(axis=1) > np.cos(np.radians(_CREASE_DEGREES))
    total = np.zeros((len(corner_point), 3))
    np.add.at(total, corner[close], area[neighbour[close]])
    length = np.linalg.norm(total, axis=1, keepdims=True)
    own = np.repeat(unit, 3, axis=0)
    return np.where(length > 1e-12, total / np.maximum(length, 1e-12), own).reshape(-1, 3, 3)


def _publish(scratch: Path, folder: Path) -> None:
    """Rename into place; another process may have been first, and its copy is as good."""
    if folder.is_dir():
        shutil.copytree(scratch, folder, dirs_exist_ok=True)
        return
    try:
        scratch.chmod(0o755)
        scratch.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
