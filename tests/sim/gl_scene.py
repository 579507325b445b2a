"""A scene that both cameras draw; run as a script, it writes what OpenGL sees of it to a file."""

import sys

import mujoco
import numpy as np

from robolearn.sim.cameras import CameraSpec
from robolearn.sim.gl_camera import GlCamera

WIDTH, HEIGHT = 160, 120
CAMERAS = (
    CameraSpec(name="fixed", pos=(0.9, -2.2, 1.1), lookat=(0.0, 0.0, 0.1), fovy=45.0),
    CameraSpec(name="carried", body="arm", pos=(0.1, -0.2, 0.3), quat=(0.8, 0.5, 0.1, 0.2), fovy=80.0),
)
SHAPES = (
    ("box", (0.15, 0.1, 0.2)),
    ("sphere", (0.15, 0.0, 0.0)),
    ("capsule", (0.08, 0.2, 0.0)),
    ("cylinder", (0.12, 0.15, 0.0)),
    ("ellipsoid", (0.2, 0.1, 0.15)),
)


def scene() -> tuple[mujoco.MjModel, mujoco.MjData]:
    """Two dozen shapes above a plane, and an arm that is not at its reference."""
    rng = np.random.default_rng(3)
    spec = mujoco.MjSpec()
    spec.worldbody.add_light(pos=(0, 0, 3), dir=(0, 0, -1))
    spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_PLANE, size=(2, 2, 0.1), pos=(0, 0, -0.5))
    arm = spec.worldbody.add_body(name="arm", pos=(0, -1.2, 0.2))
    arm.add_joint(axis=(0, 0, 1))
    for i in range(24):
        kind, size = SHAPES[i % len(SHAPES)]
        body = arm if i == 0 else spec.worldbody
        body.add_geom(
            type=getattr(mujoco.mjtGeom, f"mjGEOM_{kind.upper()}"),
            size=0.7 * np.array(size),
            pos=(0, 0, 0) if i == 0 else rng.uniform((-0.8, -0.8, -0.4), (0.8, 0.8, 0.6)),
            quat=rng.normal(size=4),
            rgba=(*rng.uniform(0.2, 1, 3), 1),
        )
    model = spec.compile()
    data = mujoco.MjData(model)
    data.qpos[0] = 0.4
    mujoco.mj_forward(model, data)
    return model, data


if __name__ == "__main__":
    images = {}
    model, data = scene()
    for spec in CAMERAS:
        camera = GlCamera(model, spec, WIDTH, HEIGHT)
        seen = camera.render(data, depth=True, segmentation=True)
        camera.close()
        for name in ("rgb", "depth", "segmentation"):
            images[f"{spec.name}.{name}"] = getattr(seen, name)[0]
    np.savez(sys.argv[1], **images)
