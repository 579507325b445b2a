"""MuJoCo chooses its OpenGL when it is imported, so pictures are drawn in a process of their own."""

import os
import subprocess
import sys
from pathlib import Path

import gl_scene
import numpy as np
import pytest

from robolearn.sim.raycast import RayCamera

DEPTH_TOLERANCE = 0.005  # m: OpenGL draws round shapes as polyhedra


def run_scene(out: Path, library: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY", "PYOPENGL_PLATFORM")}
    environment["MUJOCO_GL"] = library
    command = [sys.executable, gl_scene.__file__, str(out)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module", params=["egl", "osmesa"])
def drawn(request, tmp_path_factory) -> dict[str, np.ndarray]:
    out = tmp_path_factory.mktemp("gl") / "images.npz"
    done = run_scene(out, request.param)
    if "MuJoCo found no OpenGL" in done.stderr:
        pytest.skip(done.stderr.strip().rpartition("\n")[2])
    if "has no attribute 'glGetError'" in done.stderr:  # MuJoCo itself cannot be imported then
        pytest.skip(f"the library of MUJOCO_GL={request.param} is not installed (OSMesa's is in Debian's libosmesa6)")
    assert out.exists(), done.stderr
    return dict(np.load(out))


def away_from_outlines(names: np.ndarray) -> np.ndarray:
    """Pixels whose neighbours show the same geom."""
    same = np.ones(names.shape, bool)
    for axis in (0, 1):
        for step in (1, -1):
            same &= np.roll(names, step, axis) == names
    return same


@pytest.mark.parametrize("spec", gl_scene.CAMERAS, ids=lambda spec: spec.name)
def test_the_ray_camera_and_opengl_see_the_same(drawn, spec):
    model, data = gl_scene.scene()
    camera = RayCamera(model, spec, gl_scene.WIDTH, gl_scene.HEIGHT)
    images = camera.render(data.geom_xpos[None], data.geom_xmat[None], depth=True, segmentation=True)
    names, gl_names = images.segmentation[0], drawn[f"{spec.name}.segmentation"]
    assert len(np.unique(names)) > 8
    assert (names == gl_names).mean() >= 0.98
    inner = away_from_outlines(names) & away_from_outlines(gl_names)
    depth, gl_depth = images.depth[0][inner], drawn[f"{spec.name}.depth"][inner]
    np.testing.assert_array_equal(np.isinf(depth), np.isinf(gl_depth))
    seen = np.isfinite(depth)
    assert (np.abs(depth[seen] - gl_depth[seen]) < DEPTH_TOLERANCE).mean() >= 0.99
    for geom in np.unique(names[inner & (names > 0)]):  # the plane is grey
        ours, theirs = (rgb[inner & (names == geom)].mean(axis=0) for rgb in (images.rgb[0], drawn[f"{spec.name}.rgb"]))
        assert ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs) > 0.99  # the same hue


def test_missing_opengl_is_explained(tmp_path):
    done = run_scene(tmp_path / "images.npz", "glfw")
    last = done.stderr.strip().rpartition("\n")[2]
    assert done.returncode != 0
    assert last.startswith("robolearn.errors.UserError: MuJoCo found no OpenGL with glfw")
    assert "MUJOCO_GL=egl" in last
    assert "MUJOCO_GL=osmesa" in last
