"""Camera pictures of the simulated scene: colour and aligned depth in one pass.

Runs headless on EGL (llvmpipe without a GPU). Colour and depth come from the same render
call, which halves the cost of asking for them one after the other; see docs of mjr_readPixels.
Not thread-safe: create and use a renderer in one thread.
"""

from __future__ import annotations

import os
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from molmoact_ros.geometry import Camera
from molmoact_ros.sim.layout import SceneSpec
from molmoact_ros.sim.meshes import use_light_meshes
from molmoact_ros.sim.scene import apply_looks, build_tree, hand_pose
from molmoact_ros.sim.textures import wood_grain


@dataclass(frozen=True)
class CameraFrame:
    """One camera's picture.

    rgb: uint8 [H, W, 3]. depth: metres float32 [H, W] along the optical axis, aligned to rgb.
    camera: the exact pinhole model and pose (ground truth) at this moment.
    """

    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32]
    camera: Camera


class SceneRenderer:
    """Renders both cameras for joint states that come from physics.

    width, height: pixels of every picture. quality: 8x multi-sampling and shadows, for
    pictures in documents (about ten times slower). light_meshes: decimated arm (``meshes``).
    Raises RuntimeError when no OpenGL context can be made.
    """

    def __init__(
        self,
        spec: SceneSpec,
        width: int = 320,
        height: int = 240,
        quality: bool = False,
        light_meshes: bool = True,
    ) -> None:
        self._closed = True  # until there is something to free
        tree = build_tree(spec)
        _set_framebuffer(tree, width, height, quality)
        if light_meshes and not quality:
            use_light_meshes(tree)
        self._model = mujoco.MjModel.from_xml_string(ET.tostring(tree, encoding="unicode"))
        _paint_table(self._model)
        self._data = mujoco.MjData(self._model)
        self._spec: SceneSpec | None = None
        self.width, self.height = width, height
        self._gl = _gl_context(width, height)
        self._gl.make_current()
        self._context = mujoco.MjrContext(self._model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
        # Far = 0 keeps float precision where a hyperbolic z-buffer needs it: far away.
        self._context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        self._scene = mujoco.MjvScene(self._model, maxgeom=400)
        flags = self._scene.flags
        flags[mujoco.mjtRndFlag.mjRND_SHADOW] = quality
        for flag in ("REFLECTION", "HAZE", "SKYBOX"):
            flags[getattr(mujoco.mjtRndFlag, f"mjRND_{flag}")] = False
        self._option = mujoco.MjvOption()
        self._view = mujoco.MjvCamera()
        self._view.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._rect = mujoco.MjrRect(0, 0, width, height)
        self._closed = False
        self._use(spec)

    @property
    def qpos_size(self) -> int:
        """Length of the joint vector that ``render`` expects."""
        return int(self._model.nq)

    def render(
        self,
        qpos: Sequence[float] | NDArray[np.float64],
        spec: SceneSpec | None = None,
        cameras: tuple[str, ...] = ("external", "wrist"),
    ) -> dict[str, CameraFrame]:
        """Pictures by camera name for a full joint vector ``qpos`` [nq] of the same scene.

        ``spec`` switches colours, light and cameras to another seed (poses are in qpos).
        Raises ValueError when qpos has another length or is not finite.
        """
        values = np.asarray(qpos, dtype=np.float64)
        if values.shape != (self._model.nq,) or not np.isfinite(values).all():
            raise ValueError(
                f"qpos has shape {values.shape}, expected finite ({self._model.nq},); physics "
                "and renderer must both come from sim.scene of this version."
            )
        if spec is not None:
            self._use(spec)
        self._data.qpos[:] = values
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_comPos(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)
        self._gl.make_current()
        return {name: self._shoot(name) for name in cameras}

    def close(self) -> None:
        """Free the OpenGL objects; the renderer cannot be used afterwards."""
        if self._closed:
            return
        self._closed = True
        self._gl.make_current()
        self._context.free()
        self._gl.free()

    def __del__(self, finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        # MjrContext frees by OpenGL names in whatever context is current: without this, a
        # forgotten renderer deletes the buffers of the next one, which then shows noise.
        if not finalizing():
            self.close()

    def _use(self, spec: SceneSpec) -> None:
        if spec is not self._spec:
            apply_looks(self._model, spec)
            self._spec = spec

    def _shoot(self, name: str) -> CameraFrame:
        assert self._spec is not None
        setup = {"external": self._spec.external, "wrist": self._spec.wrist}[name]
        self._view.fixedcamid = self._model.camera(name).id
        everything = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjv_updateScene(
            self._model, self._data, self._option, None, self._view, everything, self._scene
        )
        rgb = np.empty((self.height, self.width, 3), dtype=np.uint8)
        buffer = np.empty((self.height, self.width), dtype=np.float32)
        mujoco.mjr_render(self._rect, self._scene, self._context)
        mujoco.mjr_readPixels(rgb, buffer, self._rect, self._context)
        return CameraFrame(
            rgb=np.ascontiguousarray(rgb[::-1]),
            depth=self._metres(buffer[::-1]),
            camera=setup.camera(self.width, self.height, hand_pose(self._data)),
        )

    def _metres(self, buffer: NDArray[np.float32]) -> NDArray[np.float32]:
        """Reversed z-buffer (1 near, 0 far) to metres along the optical axis."""
        extent = self._model.stat.extent
        near, far = self._model.vis.map.znear * extent, self._model.vis.map.zfar * extent
        metres = near * far / (near + buffer.astype(np.float64) * (far - near))
        return np.ascontiguousarray(metres, dtype=np.float32)


def _set_framebuffer(tree: ET.Element, width: int, height: int, quality: bool) -> None:
    for element in tree.iter("global"):
        element.set("offwidth", str(width))
        element.set("offheight", str(height))
    if quality:
        for element in tree.iter("quality"):
            element.set("offsamples", "8")
            element.set("shadowsize", "4096")


def _paint_table(model: mujoco.MjModel) -> None:
    texture = model.texture("wood")
    height, width = int(texture.height[0]), int(texture.width[0])
    start = int(model.tex_adr[texture.id])
    model.tex_data[start : start + height * width * 3] = wood_grain(height, width).ravel()


def _gl_context(width: int, height: int):  # type: ignore[no-untyped-def]
    """EGL unless MUJOCO_GL says osmesa; imported late because importing loads the driver."""
    try:
        if os.environ.get("MUJOCO_GL", "egl").lower() == "osmesa":
            from mujoco.osmesa import GLContext
        else:
            from mujoco.egl import GLContext
        return GLContext(width, height)
    except (ImportError, AttributeError, OSError) as error:
        raise RuntimeError(
            f"No headless OpenGL: {error}. Install the software renderer: "
            "apt-get install libegl1 libgl1-mesa-dri libegl-mesa0 libgles2 libgl1."
        ) from error
