"""The same cameras drawn by OpenGL: meshes, textures, materials and soft light, one world at a time.

MuJoCo chooses the GL library when it is first imported, by the environment variable MUJOCO_GL: `egl` (GPU or Mesa),
`osmesa` (software), or glfw where there is a display. For learning `robolearn.sim.raycast` is faster and needs no GL.

Both agree away from outlines: the same geom in 98 % of all pixels, depth within 5 mm in 99 % (OpenGL draws round shapes
as polyhedra); `tests/sim/test_gl_camera.py` holds them to it.
"""

from __future__ import annotations

import os

import mujoco
import numpy as np

from robolearn.errors import UserError
from robolearn.sim.cameras import CameraSpec, mount
from robolearn.sim.raycast import Images

INSTALL = (
    "set MUJOCO_GL=egl (`apt install libegl1 libopengl0 libgl1-mesa-dri`) or MUJOCO_GL=osmesa "
    "(`apt install libosmesa6`), or use the ray-cast camera, which needs no GL"
)


class GlCamera:
    """A camera that draws whatever MuJoCo can draw; see `robolearn.sim.raycast.RayCamera` for the one for learning."""

    def __init__(self, model: mujoco.MjModel, camera: CameraSpec, width: int, height: int) -> None:
        """Open a GL context of `width` x `height` pixels.

        Raises:
            UserError: there is no GL here, or the camera's body is unknown.
        """
        if width < 1 or height < 1:
            raise UserError("a camera needs a width and a height of at least 1 pixel")
        self.spec, self.width, self.height = camera, width, height
        self._mount = mount(model, camera)
        frame = model.vis.global_
        frame.offwidth, frame.offheight = max(frame.offwidth, width), max(frame.offheight, height)
        try:
            self._renderer = mujoco.Renderer(model, height, width)
        except Exception as error:  # each GL library fails in its own way, down to missing attributes
            asked = os.environ.get("MUJOCO_GL") or "glfw, its default"
            raise UserError(f"MuJoCo found no OpenGL with {asked} ({_first_line(error)}): {INSTALL}") from error

    def render(self, data: mujoco.MjData, *, depth: bool = False, segmentation: bool = False) -> Images:
        """Draw one world, whose `data` holds the kinematics; the arrays' leading axis is 1.

        Depth is in m along the optical axis, inf where nothing is seen; segmentation is the geom id, -1 where none is.
        """
        renderer = self._renderer
        renderer.update_scene(data)
        self._aim(data)
        rgb = renderer.render()[None].copy()
        metres = geoms = None
        if depth:
            renderer.enable_depth_rendering()
            metres = renderer.render()[None].copy()
            renderer.disable_depth_rendering()
            metres[metres >= 0.999 * renderer.scene.camera[0].frustum_far] = np.inf
        if segmentation:
            renderer.enable_segmentation_rendering()
            ids = renderer.render()
            renderer.disable_segmentation_rendering()
            geoms = np.where(ids[..., 1] == mujoco.mjtObj.mjOBJ_GEOM, ids[..., 0], -1).astype(np.int32)[None]
        return Images(rgb, metres, geoms)

    def close(self) -> None:
        """Free the GL context."""
        self._renderer.close()

    def _aim(self, data: mujoco.MjData) -> None:
        eye, axes = self._mount.place(data.geom_xpos[None], data.geom_xmat[None])
        for camera in self._renderer.scene.camera:  # left and right eye, between which a plain picture is drawn
            camera.pos, camera.up, camera.forward = eye[0], axes[0, :, 1], -axes[0, :, 2]
            half = camera.frustum_near * np.tan(np.radians(self.spec.fovy) / 2)
            camera.frustum_bottom, camera.frustum_top = -half, half
            camera.frustum_center, camera.frustum_width = 0.0, 0.0


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
