import mujoco
import numpy as np
import pytest

from robolearn.errors import UserError
from robolearn.sim.render import Camera, frame_indices, render, render_depth, render_trajectory

SCENE = """
<mujoco>
  <asset>
    <material name="green" rgba="0.1 0.8 0.1 1"/>
    <mesh name="wedge" vertex="0 0 0  .2 0 0  0 .2 0  0 0 .2"/>
  </asset>
  <worldbody>
    <geom name="floor" type="plane" size="0 0 .1" rgba=".8 .8 .8 1"/>
    <body pos="0 0 .5"><freejoint/><geom name="ball" type="sphere" size=".1" rgba=".9 .1 .1 1"/></body>
    <geom name="box" type="box" size=".1 .1 .1" pos=".6 0 .1" material="green"/>
    <geom name="wedge" type="mesh" mesh="wedge" pos="-.6 0 0" rgba=".2 .2 .9 1"/>
    <geom name="ghost" type="sphere" size=".3" pos="0 0 .5" group="3"/>
    <geom name="glass" type="sphere" size=".3" pos="0 0 .5" rgba="1 1 1 0"/>
  </worldbody>
</mujoco>
"""
CAMERA = Camera(pos=(0.0, -2.0, 0.5), lookat=(0.0, 0.0, 0.5), fovy=60.0, width=64, height=48)


@pytest.fixture
def scene() -> tuple[mujoco.MjModel, mujoco.MjData]:
    model = mujoco.MjModel.from_xml_string(SCENE)
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    return model, data


def test_depth_and_segmentation_show_the_front_of_each_geom(scene):
    model, data = scene
    depth, geom = render_depth(model, data, CAMERA)
    assert geom[24, 32] == model.geom("ball").id
    assert depth[24, 32] == pytest.approx(1.9, abs=0.01)  # the ball's front, along the optical axis
    assert set(np.unique(geom)) == {-1, *(model.geom(name).id for name in ("floor", "ball", "box", "wedge"))}
    assert np.isinf(depth[geom < 0]).all()
    # an object to the right of the camera's axis is to the right in the picture
    assert (
        np.nonzero(geom == model.geom("box").id)[1].mean() > 32 > np.nonzero(geom == model.geom("wedge").id)[1].mean()
    )


def test_depth_is_measured_along_the_optical_axis_not_along_the_ray():
    model = mujoco.MjModel.from_xml_string(
        "<mujoco><worldbody><geom type='box' size='9 .1 9' pos='0 1.1 0'/></worldbody></mujoco>"
    )
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    depth, _ = render_depth(model, data, Camera((0, -1, 0), (0, 1, 0), fovy=80, width=16, height=16))
    np.testing.assert_allclose(depth, 2.0, rtol=1e-6)


def test_a_point_of_the_scene_lies_in_the_pixel_that_the_pinhole_model_says(scene):
    model, data = scene
    camera = Camera((1.0, -1.5, 1.2), (0.1, 0.2, 0.3), fovy=50, width=160, height=120)
    right, up, forward = camera.axes @ (data.body(1).xpos - np.array(camera.pos))
    focal = 60 / np.tan(np.radians(25))
    rows, columns = np.nonzero(render_depth(model, data, camera)[1] == model.geom("ball").id)
    assert abs(columns.mean() + 0.5 - (80 + focal * right / forward)) < 1
    assert abs(rows.mean() + 0.5 - (60 - focal * up / forward)) < 1


def test_colours_come_from_geom_and_material(scene):
    model, data = scene
    picture = render(model, data, CAMERA)
    _, geom = render_depth(model, data, CAMERA)
    assert picture.dtype == np.uint8
    assert picture.shape == (48, 64, 3)
    for name, channel in (("ball", 0), ("box", 1), ("wedge", 2)):
        colour = picture[geom == model.geom(name).id].mean(axis=0)
        assert np.argmax(colour) == channel, name


def test_a_ball_casts_a_shadow_on_the_floor(scene):
    model, data = scene
    above = Camera((0.0, 0.0, 6.0), (0.0, 0.0, 0.0), fovy=30, width=48, height=48)
    floor = render_depth(model, data, above)[1] == model.geom("floor").id
    with_ball = render(model, data, above).astype(int)
    data.qpos[2] = 50.0
    mujoco.mj_kinematics(model, data)
    without = render(model, data, above).astype(int)
    assert (without - with_ball)[floor].max() > 40


def test_same_scene_same_picture_and_camera_may_look_straight_down(scene):
    model, data = scene
    down = Camera((0.0, 0.0, 3.0), (0.0, 0.0, 0.0), width=32, height=24)
    assert np.isfinite(down.axes).all()
    np.testing.assert_allclose(down.axes @ down.axes.T, np.eye(3), atol=1e-12)
    np.testing.assert_array_equal(render(model, data, down, samples=1), render(model, data, down, samples=1))


def test_an_empty_world_is_all_backdrop():
    model = mujoco.MjModel.from_xml_string("<mujoco><worldbody/></mujoco>")
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    assert render(model, data, CAMERA, samples=1).min() > 100


def test_trajectory_shows_first_and_last_moment(scene):
    model, data = scene
    qpos = np.repeat(data.qpos[None], 9, axis=0)
    qpos[:, 2] = np.linspace(0.3, 0.9, 9)
    frames = render_trajectory(model, qpos, CAMERA, n_frames=3, samples=1)
    assert frames.shape == (3, 48, 64, 3)
    red = (frames[..., 0].astype(int) - frames[..., 1]) > 60
    heights = [np.nonzero(mask)[0].mean() for mask in red]
    assert heights[0] > heights[1] > heights[2]  # the ball rises: its rows decrease
    for frame, at in zip(frames, (0, 4, 8), strict=True):
        data.qpos[:] = qpos[at]
        mujoco.mj_kinematics(model, data)
        np.testing.assert_array_equal(frame, render(model, data, CAMERA, samples=1))


def test_frame_indices():
    np.testing.assert_array_equal(frame_indices(11, 3), (0, 5, 10))
    np.testing.assert_array_equal(frame_indices(2, 6), (0, 1))
    with pytest.raises(UserError, match="no frames"):
        frame_indices(0, 6)


@pytest.mark.parametrize(
    "wrong",
    [{"width": 0}, {"fovy": 180.0}, {"lookat": (0.0, -2.0, 0.5)}],
    ids=["no pixels", "too wide", "no direction"],
)
def test_a_camera_that_sees_nothing_is_refused(wrong):
    fields = {"pos": CAMERA.pos, "lookat": CAMERA.lookat, **wrong}
    with pytest.raises(UserError, match="camera"):
        Camera(**fields)
