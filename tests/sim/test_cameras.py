from itertools import product

import mujoco
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robolearn.errors import UserError
from robolearn.sim.cameras import (
    CameraSpec,
    cameras_of,
    external_camera,
    find_camera,
    look_at,
    mount,
    wrist_camera,
)
from robolearn.sim.raycast import RayCamera
from robolearn.sim.robots import ROBOTS
from robolearn.sim.robots.panda import PANDA, build_panda

unit = st.floats(-1, 1)
vector = st.tuples(unit, unit, unit)


@pytest.fixture(scope="module")
def panda() -> tuple[mujoco.MjModel, mujoco.MjData]:
    spec = mujoco.MjSpec()
    spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, size=(0.5, 0.6, 0.025), pos=(0.35, 0, -0.025))
    build_panda(spec)
    model = spec.compile()
    data = mujoco.MjData(model)
    data.qpos[:7], data.qpos[7:] = PANDA.home, 0.03
    mujoco.mj_forward(model, data)
    return model, data


@given(pos=vector, lookat=vector, up=st.sampled_from(((0, 0, 1), (0, 1, 0), (1, 0, 0))))
def test_axes_are_a_right_handed_frame_that_looks_where_it_should(pos, lookat, up):
    if np.linalg.norm(np.subtract(pos, lookat)) < 1e-3:
        return
    axes = look_at(pos, lookat, up)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-9)
    assert np.linalg.det(axes) == pytest.approx(1)
    way = np.subtract(lookat, pos)
    np.testing.assert_allclose(-axes[:, 2], way / np.linalg.norm(way), atol=1e-9)
    if abs(axes[:, 2] @ up) < 0.99:
        assert axes[:, 1] @ up > 0


def test_a_quaternion_says_the_same_as_mujocos_own_camera():
    model = mujoco.MjModel.from_xml_string(
        "<mujoco><worldbody><body name='b' pos='.1 .2 .3' euler='10 20 30'><geom size='.1'/>"
        "<camera name='c' pos='.3 0 .1' quat='.5 .1 -.4 .2'/></body></worldbody></mujoco>"
    )
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    spec = CameraSpec(name="c", body="b", pos=(0.3, 0, 0.1), quat=(0.5, 0.1, -0.4, 0.2))
    eye, axes = mount(model, spec).place(data.geom_xpos[None], data.geom_xmat[None])
    np.testing.assert_allclose(eye[0], data.camera("c").xpos, atol=1e-12)
    np.testing.assert_allclose(axes[0].ravel(), data.camera("c").xmat, atol=1e-12)


def test_a_camera_moves_with_its_body(panda):
    model, _ = panda
    spec = wrist_camera(model)
    carried = mount(model, spec)
    moved = mujoco.MjData(model)
    for joints in np.random.default_rng(0).uniform(PANDA.lower, PANDA.upper, (5, 7)):
        moved.qpos[:7] = joints
        mujoco.mj_kinematics(model, moved)
        eye, axes = carried.place(moved.geom_xpos[None], moved.geom_xmat[None])
        body = moved.body(spec.body)
        np.testing.assert_allclose(eye[0], body.xpos + body.xmat.reshape(3, 3) @ spec.pos, atol=1e-9)
        np.testing.assert_allclose(axes[0], body.xmat.reshape(3, 3) @ spec.axes, atol=1e-9)


def test_a_body_without_a_geom_borrows_one_that_is_welded_to_it():
    model = mujoco.MjModel.from_xml_string(
        "<mujoco><worldbody><body name='arm'><joint/><geom size='.1'/>"
        "<body name='mount' pos='0 0 .4'/><body name='loose'><joint axis='1 0 0'/><inertial pos='0 0 0' mass='1' "
        "diaginertia='1 1 1'/></body></body></worldbody></mujoco>"
    )
    data = mujoco.MjData(model)
    data.qpos[0] = 0.7
    mujoco.mj_kinematics(model, data)
    eye, _ = mount(model, CameraSpec(name="c", body="mount", pos=(0.1, 0, 0), lookat=(1, 0, 0))).place(
        data.geom_xpos[None], data.geom_xmat[None]
    )
    np.testing.assert_allclose(eye[0], data.body("mount").xpos + 0.1 * data.body("mount").xmat[[0, 3, 6]], atol=1e-9)
    with pytest.raises(UserError, match="'loose', which has no geom"):
        mount(model, CameraSpec(name="c", body="loose", pos=(0.1, 0, 0), lookat=(1, 0, 0)))


def test_the_wrist_camera_sees_both_fingertips_and_the_point_between_them(panda):
    model, data = panda
    camera = RayCamera(model, wrist_camera(model), 84, 84)
    poses = data.geom_xpos[None], data.geom_xmat[None]
    images = camera.render(*poses, depth=True, segmentation=True)
    names = images.segmentation[0]
    for finger in PANDA.gripper_joints:
        assert (names == model.geom(f"{finger}_pad").id).sum() > 20
    # the tool point lies on the picture's vertical midline, and nothing stands between
    eye, axes = mount(model, wrist_camera(model)).place(*poses)
    right, up, back = (data.site("tool").xpos - eye[0]) @ axes[0]
    scale = 42 / np.tan(np.radians(wrist_camera(model).fovy) / 2) / -back
    row, column = int(42 - up * scale), int(42 + right * scale)
    assert abs(right) < 1e-6
    assert 0 <= row < 84
    assert images.depth[0, row, column] > -back


@pytest.mark.parametrize("name", ROBOTS)
def test_the_external_camera_sees_the_whole_work_area_and_the_hand_above_it(name):
    robot, build = ROBOTS[name]
    spec = mujoco.MjSpec()
    for i, (x, y) in enumerate(product(*zip(*robot.work_area, strict=True))):
        spec.worldbody.add_geom(name=f"corner{i}", type=mujoco.mjtGeom.mjGEOM_SPHERE, size=(0.02, 0, 0), pos=(x, y, 0))
    build(spec)
    model = spec.compile()
    data = mujoco.MjData(model)
    for joint, angle in zip(robot.joint_names, robot.home, strict=True):
        data.joint(joint).qpos = angle
    mujoco.mj_kinematics(model, data)
    camera = RayCamera(model, external_camera(robot), 84, 84)
    seen = np.unique(camera.render(data.geom_xpos[None], data.geom_xmat[None], segmentation=True).segmentation)
    assert {model.geom(f"corner{i}").id for i in range(4)} <= set(seen)
    assert model.site("tool").bodyid[0] in model.geom_bodyid[seen[seen >= 0]]


def test_a_robot_may_bring_its_own_cameras(panda):
    own = CameraSpec(name="wrist", body="panda_hand", pos=(0.1, 0, 0), lookat=(0, 0, 0.1))
    side = CameraSpec(name="side", pos=(0, 1, 0.5), lookat=(0.4, 0, 0))
    cameras = cameras_of(panda[0], PANDA, [own, side])
    assert cameras == {"external": external_camera(PANDA), "wrist": own, "side": side}
    with pytest.raises(UserError, match="unknown camera 'wirst'; did you mean 'wrist'"):
        find_camera(cameras, "wirst")


def test_a_model_without_a_tool_has_no_wrist_camera():
    model = mujoco.MjModel.from_xml_string("<mujoco><worldbody><geom size='.1'/></worldbody></mujoco>")
    with pytest.raises(UserError, match="no site 'tool'"):
        wrist_camera(model)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({}, "either `lookat` or `quat`"),
        ({"lookat": (1, 0, 0), "quat": (1, 0, 0, 0)}, "either `lookat` or `quat`"),
        ({"lookat": (0, 0, 0)}, "looks at its own position"),
        ({"lookat": (1, 0, 0), "fovy": 180.0}, "fovy"),
        ({"quat": (0, 0, 0, 0)}, "length 0"),
        ({"lookat": (np.nan, 0, 0)}, "not finite"),
    ],
)
def test_a_camera_that_sees_nothing_is_refused(wrong, sentence):
    with pytest.raises(UserError, match=sentence):
        CameraSpec(name="c", pos=(0, 0, 0), **wrong)


def test_an_unknown_body_is_named_with_the_nearest(panda):
    with pytest.raises(UserError, match="'panda_hnd'; did you mean 'panda_hand'"):
        mount(panda[0], CameraSpec(name="c", body="panda_hnd", pos=(0, 0, 0), lookat=(1, 0, 0)))
