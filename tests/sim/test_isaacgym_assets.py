"""A scene split into assets is still the same scene."""

from itertools import combinations

import mujoco
import numpy as np
import pytest

from robolearn.errors import UserError
from robolearn.sim.backends.isaacgym_assets import collision_filters, inertia_matrices, split_scene
from robolearn.sim.robots import ROBOTS, get_robot
from robolearn.sim.robots.panda import INERTIAS
from robolearn.sim.scene import build_model
from robolearn.sim.tasks import TASKS, make_task

SCENES = [("lift", robot) for robot in ROBOTS] + [(task, "panda") for task in TASKS if task != "lift"]


def scene(task, robot):
    return build_model(make_task(task), get_robot(robot), timestep=0.005)


@pytest.mark.parametrize(("task", "robot"), SCENES)
def test_an_asset_has_the_bodies_of_the_scene(task, robot):
    model = scene(task, robot)
    data = mujoco.MjData(model)
    data.qpos[:] += np.random.default_rng(0).uniform(-0.1, 0.1, model.nq)
    mujoco.mj_kinematics(model, data)
    for asset in split_scene(model):
        part = mujoco.MjModel.from_xml_string(asset.mjcf)
        own = mujoco.MjData(part)
        for name, joint in asset.joints.items():
            own.joint(name).qpos = data.qpos[model.jnt_qposadr[joint]]
        mujoco.mj_kinematics(part, own)
        root = asset.bodies[asset.name]
        turn = data.xmat[root].reshape(3, 3) @ own.xmat[1].reshape(3, 3).T
        assert part.nbody == 1 + len(asset.bodies)
        for name, body in asset.bodies.items():
            k = part.body(name).id
            pos = data.xpos[root] + turn @ (own.xpos[k] - own.xpos[1])
            np.testing.assert_allclose(pos, data.xpos[body], rtol=0, atol=1e-7)
            np.testing.assert_allclose(turn @ own.xmat[k].reshape(3, 3), data.xmat[body].reshape(3, 3), atol=1e-7)
            if model.body_mass[body] > 0:  # what stands still has none of its own
                for field in ("body_mass", "body_inertia", "body_ipos", "body_iquat"):
                    np.testing.assert_allclose(getattr(part, field)[k], getattr(model, field)[body], atol=1e-8)


@pytest.mark.parametrize(("task", "robot"), SCENES)
def test_an_asset_has_the_surfaces_of_the_scene(task, robot):
    model = scene(task, robot)
    seen = []
    for asset in split_scene(model):
        part = mujoco.MjModel.from_xml_string(asset.mjcf)
        for name, geoms in asset.geoms.items():
            own = np.flatnonzero(part.geom_bodyid == part.body(name).id)
            for field in ("geom_type", "geom_size", "geom_pos", "geom_quat"):
                np.testing.assert_allclose(getattr(part, field)[own], getattr(model, field)[geoms], atol=1e-7)
            seen += geoms
    touching = np.flatnonzero(model.geom_contype | model.geom_conaffinity)
    assert sorted(seen) == touching.tolist()


@pytest.mark.parametrize(("task", "robot"), SCENES)
def test_the_filters_let_the_same_surfaces_touch(task, robot):
    model = scene(task, robot)
    bits = collision_filters(model)
    kind, likes = model.geom_contype, model.geom_conaffinity
    assert bits.max() < 1 << 31
    for a, b in combinations(np.flatnonzero(kind | likes), 2):
        if model.geom_bodyid[a] != model.geom_bodyid[b]:
            touch = bool(kind[a] & likes[b] or kind[b] & likes[a])
            assert touch == ((bits[a] & bits[b]) == 0)


def test_who_may_be_placed_and_who_weighs_nothing():
    assets = {asset.name: asset for asset in split_scene(scene("drawer_place", "panda"))}
    assert list(assets) == ["scenery", "cube", "cabinet", "panda_link0"]
    assert [asset.free for asset in assets.values()] == [False, True, False, False]
    assert [asset.placed for asset in assets.values()] == [False, True, True, False]
    assert [asset.weightless for asset in assets.values()] == [False, False, False, True]
    assert list(assets["cabinet"].joints) == ["drawer"]
    assert len(assets["panda_link0"].joints) == 9


def test_marks_are_no_assets():
    assert [asset.name for asset in split_scene(scene("push", "panda"))] == ["scenery", "plate", "panda_link0"]


def test_inertia_along_the_body_s_axes():
    model = scene("lift", "panda")
    found = inertia_matrices(model.body_iquat, model.body_inertia)
    for i, inertia in enumerate(INERTIAS, start=1):
        xx, yy, zz, xy, xz, yz = inertia.moments
        expected = [[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]
        np.testing.assert_allclose(found[model.body(f"panda_link{i}").id], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("joint", "geom", "sentence"),
    [
        (mujoco.mjtJoint.mjJNT_BALL, mujoco.mjtGeom.mjGEOM_BOX, "joint 'odd' is neither"),
        (mujoco.mjtJoint.mjJNT_HINGE, mujoco.mjtGeom.mjGEOM_ELLIPSOID, "'odd shape' is none of them"),
    ],
)
def test_what_an_asset_cannot_have_is_named(joint, geom, sentence):
    spec = mujoco.MjSpec()
    body = spec.worldbody.add_body(name="body")
    body.add_joint(name="odd", type=joint)
    body.add_geom(name="odd shape", type=geom, size=(0.1, 0.2, 0.3))
    with pytest.raises(UserError, match=sentence):
        split_scene(spec.compile())
