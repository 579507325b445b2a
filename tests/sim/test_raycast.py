import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robolearn.errors import UserError
from robolearn.sim.cameras import CameraSpec, mount
from robolearn.sim.raycast import Images, Light, RayCamera

GEOM = mujoco.mjtGeom
KINDS = (
    GEOM.mjGEOM_BOX,
    GEOM.mjGEOM_CAPSULE,
    GEOM.mjGEOM_CYLINDER,
    GEOM.mjGEOM_SPHERE,
    GEOM.mjGEOM_ELLIPSOID,
    GEOM.mjGEOM_PLANE,
)
FRONT = CameraSpec(name="front", pos=(0.0, -2.0, 0.5), lookat=(0.0, 0.0, 0.5), fovy=60.0)
SCENE = """
<mujoco>
  <worldbody>
    <geom name="floor" type="plane" size="3 3 .1" rgba=".8 .8 .8 1"/>
    <body name="ball" pos="0 0 .5"><freejoint/><geom name="ball" type="sphere" size=".1" rgba=".9 .1 .1 1"/></body>
    <geom name="box" type="box" size=".1 .1 .1" pos=".6 0 .1" rgba=".1 .8 .1 1"/>
    <geom name="ghost" type="sphere" size=".3" pos="0 0 .5" group="3"/>
    <geom name="glass" type="sphere" size=".3" pos="0 0 .5" rgba="1 1 1 0"/>
  </worldbody>
</mujoco>
"""


def settled(model: mujoco.MjModel) -> mujoco.MjData:
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    return data


@pytest.fixture(scope="module")
def scene() -> tuple[mujoco.MjModel, mujoco.MjData]:
    model = mujoco.MjModel.from_xml_string(SCENE)
    return model, settled(model)


def draw(model, data, camera, width=64, height=48, **options) -> Images:
    seen = RayCamera(model, camera, width, height)
    return seen.render(data.geom_xpos[None], data.geom_xmat[None], depth=True, segmentation=True, **options)


def cast(model, data, origins, directions):
    """MuJoCo's own rays: distances in lengths of the direction (inf: nothing) and geom ids."""
    groups = np.array((1, 1, 1, 0, 0, 0), np.uint8)
    n = len(directions)
    dist, geom = np.empty(n), np.empty(n, np.int32)
    mujoco.mj_multiRay(model, data, origins, directions.ravel(), groups, True, -1, geom, dist, None, n, 1e10)
    return np.where(geom < 0, np.inf, dist), geom


def rays(model, data, camera, width, height):
    """Position and rays of a camera's pixels, one metre long along the optical axis."""
    eye, axes = mount(model, camera).place(data.geom_xpos[None], data.geom_xmat[None])
    pitch = 2 * np.tan(np.radians(camera.fovy) / 2) / height
    x, y = np.meshgrid((np.arange(width) + 0.5 - width / 2) * pitch, (height / 2 - 0.5 - np.arange(height)) * pitch)
    return eye[0], np.stack((x, y, -np.ones_like(x)), axis=-1).reshape(-1, 3) @ axes[0].T


def assert_agrees_with_mujoco(model, data, camera, width, height) -> None:
    images = draw(model, data, camera, width, height)
    dist, geom = (a.reshape(height, width) for a in cast(model, data, *rays(model, data, camera, width, height)))
    depth, names = images.depth[0], images.segmentation[0]
    both_nothing = np.isinf(depth) & np.isinf(dist)
    near = both_nothing | (np.abs(np.where(both_nothing, 0, depth) - np.where(both_nothing, 0, dist)) < 1e-4)
    assert near.mean() >= 0.999
    # where two surfaces coincide either may be named
    assert (names == geom)[~near].all() or (names != geom).mean() < 1e-3
    assert ((names == geom) | near).mean() >= 0.999


@pytest.mark.parametrize("seed", range(6))
def test_depth_and_geoms_are_those_of_mujocos_rays_in_a_crowd_of_shapes(seed):
    rng = np.random.default_rng(seed)
    spec = mujoco.MjSpec()
    spec.worldbody.add_geom(type=GEOM.mjGEOM_PLANE, size=(3, 3, 0.1), pos=(0, 0, -1), quat=(1, 0.1, 0.05, 0))
    for i in range(40):
        size, pos = np.exp(rng.uniform(np.log(0.005), np.log(0.25), 3)), rng.uniform(-1, 1, 3)
        spec.worldbody.add_geom(type=KINDS[i % 6], size=size, pos=pos, quat=rng.normal(size=4))
    model = spec.compile()
    camera = CameraSpec(
        name="any", pos=(*rng.uniform((-1, -3), (1, -2)), 0.8), lookat=tuple(rng.uniform(-0.3, 0.3, 3)), fovy=60
    )
    assert_agrees_with_mujoco(model, settled(model), camera, 160, 120)


unit = st.floats(-1, 1)


@settings(max_examples=60)
@given(
    kind=st.sampled_from(KINDS),
    size=st.tuples(*[st.floats(0.01, 0.4)] * 3),
    quat=st.tuples(unit, unit, unit, unit).filter(lambda q: np.linalg.norm(q) > 0.1),
    where=st.tuples(unit, unit, unit).filter(lambda p: np.linalg.norm(p) > 0.1),
    off=st.tuples(unit, unit, unit),
    distance=st.floats(0.75, 3.0),
)
def test_each_shape_in_any_pose_is_seen_as_by_mujocos_rays(kind, size, quat, where, off, distance):
    spec = mujoco.MjSpec()
    spec.worldbody.add_geom(type=kind, size=size, quat=quat)
    model = spec.compile()
    pos = np.array(where) / np.linalg.norm(where) * (distance + 0.4)  # outside
    camera = CameraSpec(name="any", pos=tuple(pos), lookat=tuple(0.2 * np.array(off)), fovy=70)
    data = settled(model)
    depth, geom = (a.reshape(37, 40) for a in cast(model, data, *rays(model, data, camera, 40, 37)))
    images = draw(model, data, camera, 40, 37)
    same = images.segmentation[0] == geom
    assert (~same).sum() <= 2  # pixels whose ray grazes the outline
    seen = same & (geom == 0)
    # where a ray grazes, the depth of the point of contact is uncertain
    assert (np.abs(images.depth[0][seen] - depth[seen]) < 1e-4).sum() >= 0.995 * seen.sum()


def test_the_wrong_side_of_the_camera_is_not_seen(scene):
    model, data = scene
    away = CameraSpec(name="away", pos=(0.0, -2.0, 0.5), lookat=(0.0, -4.0, 1.5), fovy=40)
    images = draw(model, data, away)
    assert (images.segmentation == -1).all()
    assert np.isinf(images.depth).all()


def test_a_surface_that_reaches_behind_the_camera_is_seen_in_front_of_it():
    model = mujoco.MjModel.from_xml_string(
        "<mujoco><worldbody><geom type='box' size='5 5 .1'/><geom type='capsule' size='.1 4' pos='0 0 2' "
        "euler='90 0 0'/><geom type='plane' size='0 0 1' pos='0 0 -1'/></worldbody></mujoco>"
    )
    camera = CameraSpec(name="low", pos=(0.3, 0.0, 1.5), lookat=(0.2, 1.0, 1.4), fovy=90)
    assert_agrees_with_mujoco(model, settled(model), camera, 64, 64)
    assert {0, 1} <= set(np.unique(draw(model, settled(model), camera).segmentation))


def test_hidden_groups_and_transparent_geoms_are_not_seen(scene):
    images = draw(*scene, FRONT)
    assert set(np.unique(images.segmentation)) == {-1, *(scene[0].geom(name).id for name in ("floor", "ball", "box"))}
    assert images.depth[0, 24, 32] == pytest.approx(1.9, abs=0.01)  # the ball's front


def test_colours_may_differ_between_worlds(scene):
    model, data = scene
    camera = RayCamera(model, FRONT, 64, 48)
    rgba = np.repeat(model.geom_rgba[None], 3, axis=0)
    ball = model.geom("ball").id
    rgba[1, ball], rgba[2, ball] = (0, 0, 1, 1), (0, 0, 0, 0)
    poses = np.repeat(data.geom_xpos[None], 3, axis=0), np.repeat(data.geom_xmat[None], 3, axis=0)
    images = camera.render(*poses, segmentation=True, rgba=rgba)
    assert np.argmax(images.rgb[0, 24, 32]) == 0
    assert np.argmax(images.rgb[1, 24, 32]) == 2
    assert images.segmentation[2, 24, 32] == -1


def test_sizes_may_differ_between_worlds(scene):
    model, data = scene
    camera = RayCamera(model, FRONT, 101, 101)
    size = np.repeat(model.geom_size[None], 2, axis=0)
    size[1, model.geom("ball").id] = 0.3
    poses = np.repeat(data.geom_xpos[None], 2, axis=0), np.repeat(data.geom_xmat[None], 2, axis=0)
    depth = camera.render(*poses, depth=True, size=size).depth
    np.testing.assert_allclose(depth[:, 50, 50], (1.9, 1.7), atol=1e-6)


def test_brightness_is_ambient_light_plus_lamberts_law():
    model = mujoco.MjModel.from_xml_string(
        "<mujoco><worldbody><geom type='box' size='1 1 1' rgba='.5 .5 .5 1'/></worldbody></mujoco>"
    )
    above = CameraSpec(name="above", pos=(0, 0, 3), lookat=(0, 0, 0), fovy=20)
    towards = np.array(((0, 0, 2.0), (1, 0, 1), (0, 3, 0)))
    light = Light(towards=towards, lamp=(0.6, 0.3, 0.0), ambient=(0.2, 0.2, 0.2))
    poses = (np.zeros((3, 1, 3)), np.tile(np.eye(3).ravel(), (3, 1, 1)))
    rgb = RayCamera(model, above, 8, 8).render(*poses, light=light).rgb
    for picture, cosine in zip(rgb, (1, np.sqrt(0.5), 0), strict=True):
        expected = 255 * 0.5 * (0.2 + cosine * np.array((0.6, 0.3, 0.0)))
        assert (np.abs(picture - expected) <= 0.51).all()


def test_the_background_may_differ_between_worlds(scene):
    camera = RayCamera(scene[0], FRONT, 16, 12)
    poses = (np.repeat(a[None], 2, axis=0) for a in (scene[1].geom_xpos, scene[1].geom_xmat))
    rgb = camera.render(*poses, background=((1, 0, 0), (0, 0.2, 1))).rgb
    np.testing.assert_array_equal(rgb[0, 0, 0], (255, 0, 0))
    np.testing.assert_array_equal(rgb[1, 0, 0], (0, 51, 255))


def many_worlds(model, n):
    data = mujoco.MjData(model)
    rng = np.random.default_rng(0)
    xpos, xmat = np.empty((n, model.ngeom, 3)), np.empty((n, model.ngeom, 9))
    for i in range(n):
        data.qpos[:3] = rng.uniform((-0.3, -0.3, 0.1), (0.3, 0.3, 0.9))
        mujoco.mj_kinematics(model, data)
        xpos[i], xmat[i] = data.geom_xpos, data.geom_xmat
    return xpos, xmat


def test_a_world_looks_the_same_alone_among_others_and_on_any_number_of_threads(scene):
    xpos, xmat = many_worlds(scene[0], 7)
    options = {"depth": True, "segmentation": True, "shadows": True}
    together = RayCamera(scene[0], FRONT, 30, 20).render(xpos, xmat, **options)
    threaded = RayCamera(scene[0], FRONT, 30, 20, threads=3)
    parts = threaded.render(xpos, xmat, **options)
    threaded.close()
    for name in ("rgb", "depth", "segmentation"):
        expected = getattr(together, name)
        np.testing.assert_array_equal(getattr(parts, name), expected)
        for i in range(len(xpos)):
            alone = RayCamera(scene[0], FRONT, 30, 20).render(xpos[i : i + 1], xmat[i : i + 1], **options)
            np.testing.assert_array_equal(getattr(alone, name)[0], expected[i])


def test_only_what_is_wanted_is_returned(scene):
    images = RayCamera(scene[0], FRONT, 16, 12).render(scene[1].geom_xpos[None], scene[1].geom_xmat[None])
    assert images.depth is None
    assert images.segmentation is None
    assert images.rgb.shape == (1, 12, 16, 3)


def test_a_camera_may_be_shifted_and_turned_in_each_world(scene):
    model, data = scene
    camera = RayCamera(model, FRONT, 101, 101)
    poses = [np.repeat(a[None], 3, axis=0) for a in (data.geom_xpos, data.geom_xmat)]
    images = camera.render(
        *poses,
        depth=True,
        segmentation=True,
        shift=((0, 0, 0), (0, 0, 0.25), (0.2, 0.1, 0)),
        turn=((0, 0, 0), (0, 0, 0.3), (0, np.radians(10), 0)),
    )
    # back by 0.25 m and rolled about the optical axis: the ball stays in the centre, farther away
    assert images.depth[1, 50, 50] == pytest.approx(images.depth[0, 50, 50] + 0.25, abs=1e-5)
    moved = CameraSpec(
        name="moved",
        pos=(0.2, -2.0, 0.6),
        lookat=(0.2 - np.tan(np.radians(10)), -1.0, 0.6),
        fovy=FRONT.fovy,
    )
    expected = draw(model, data, moved, 101, 101)
    assert (images.segmentation[2] == expected.segmentation[0]).mean() > 0.999


def test_shadows_fall_where_mujocos_rays_do_not_reach_the_lamp(scene):
    model, data = scene
    towards = np.array((0.3, -0.2, 1.0)) / np.linalg.norm((0.3, -0.2, 1.0))
    above = CameraSpec(name="above", pos=(0.1, -0.4, 2.5), lookat=(0.2, 0.0, 0.0), fovy=40)
    light = Light(towards=towards)
    lit, dark = (draw(model, data, above, 80, 60, light=light, shadows=on) for on in (False, True))
    eye, ways = rays(model, data, above, 80, 60)
    points = eye + lit.depth[0].reshape(-1, 1) * ways
    blocked = [
        cast(model, data, point + 1e-3 * towards, towards[None])[1][0] >= 0 if np.isfinite(point).all() else False
        for point in points
    ]
    darker = (lit.rgb[0] > dark.rgb[0]).any(axis=-1)
    facing = lit.segmentation[0] == model.geom("floor").id
    np.testing.assert_array_equal(lit.depth, dark.depth)
    assert darker[facing].any()
    assert (darker == np.reshape(blocked, darker.shape))[facing].mean() > 0.998


def test_a_mesh_is_refused_by_name_with_what_to_do():
    model = mujoco.MjModel.from_xml_string(
        "<mujoco><asset><mesh name='wedge' vertex='0 0 0  .2 0 0  0 .2 0  0 0 .2'/></asset>"
        "<worldbody><geom name='cup' type='mesh' mesh='wedge'/></worldbody></mujoco>"
    )
    with pytest.raises(UserError, match=r"geom cup is a mesh.*GL camera"):
        RayCamera(model, FRONT, 8, 8)
    model.geom_group[0] = 3
    assert (draw(model, settled(model), FRONT).segmentation == -1).all()


@pytest.mark.parametrize("size", [(0, 8), (8, 0)])
def test_a_camera_without_pixels_is_refused(scene, size):
    with pytest.raises(UserError, match="at least 1 pixel"):
        RayCamera(scene[0], FRONT, *size)


@pytest.mark.parametrize(
    "wrong",
    [{"rgba": np.ones((2, 4))}, {"shift": np.zeros((3, 3))}, {"background": 0.5}],
    ids=["colours of other geoms", "shifts of other worlds", "no colour"],
)
def test_arrays_of_another_shape_are_refused(scene, wrong):
    camera = RayCamera(scene[0], FRONT, 8, 8)
    poses = [np.repeat(a[None], 2, axis=0) for a in (scene[1].geom_xpos, scene[1].geom_xmat)]
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} has shape"):
        camera.render(*poses, **wrong)


def test_poses_that_are_not_finite_break_nothing(scene):
    xpos, xmat = many_worlds(scene[0], 2)
    expected = RayCamera(scene[0], FRONT, 30, 20).render(xpos, xmat).rgb
    xpos[0], xmat[0] = np.nan, np.inf
    np.testing.assert_array_equal(RayCamera(scene[0], FRONT, 30, 20).render(xpos, xmat).rgb[1], expected[1])
