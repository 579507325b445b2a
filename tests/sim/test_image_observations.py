"""Pictures among the observations: what they are, what they show, and what they leave alone."""

import json
from functools import cache

import gymnasium
import mujoco
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from vec_env_contract import CONTRACT

import robolearn.sim.single_env  # noqa: F401 (registers the ids)
from robolearn.errors import UserError
from robolearn.schema import Schema
from robolearn.sim.backends.mujoco import MujocoVecEnv
from robolearn.sim.cameras import cameras_of
from robolearn.sim.experts.scripted import ScriptedExpert
from robolearn.sim.image_observations import ImageObservations
from robolearn.sim.mirror import poses, set_pose
from robolearn.sim.randomization import Randomization
from robolearn.sim.raycast import RayCamera

BOTH = ("external", "wrist")
EXTERNAL, WRIST = (f"observation.images.{name}" for name in BOTH)
LOOKS = Randomization(
    colour=(0.0, 1.0), size=(1.3, 1.3), camera_shift=(-0.02, 0.02), camera_turn=(-0.1, 0.1), light=(0.5, 1.5),
    light_tilt=(0.0, 0.5),
)  # fmt: skip


@cache
def make(num_envs=2, task="lift", robot="panda", autoreset=False, **options):
    return MujocoVecEnv(task, robot, num_envs=num_envs, autoreset=autoreset, **{"cameras": BOTH} | options)


def hold(env):
    """Actions that stay where the arm is, with an open gripper."""
    actions = np.zeros((env.num_envs, *env.schema.action.shape))
    actions[:, -1] = env.robot.gripper_width
    return actions


# ---------------------------------------------------------------- what they are


@pytest.mark.parametrize("random", [False, True], ids=["plain", "random"])
@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
def test_worlds_with_cameras_keep_the_contract(check, random):
    def make_small(*, num_envs, autoreset):
        extras = {"image_size": 12, "depth": True, "segmentation": True, "max_episode_steps": 5}
        return make(num_envs, autoreset=autoreset, randomization=LOOKS if random else None, **extras)

    check(make_small)


def test_channels_are_named_and_shaped_as_lerobot_has_them():
    env = make(image_size=20, depth=True, segmentation=True)
    assert list(env.schema) == [
        "observation.state",
        "observation.environment_state",
        *(f"observation.{kind}.{name}" for kind in ("images", "depth", "segmentation") for name in BOTH),
        "action",
    ]
    written = env.schema.to_lerobot()
    names = ["height", "width", "channels"]
    assert written[WRIST] == {"dtype": "image", "shape": [20, 20, 3], "names": names}
    assert written["observation.depth.wrist"] == {"dtype": "float32", "shape": [20, 20, 1], "names": names}
    assert written["observation.segmentation.wrist"] == {"dtype": "int32", "shape": [20, 20, 1], "names": names}
    observation, _ = env.reset(seed=0)
    kinds = {key: (values.shape[1:], values.dtype.name) for key, values in observation.items() if "wrist" in key}
    assert kinds == {
        WRIST: ((20, 20, 3), "uint8"),
        "observation.depth.wrist": ((20, 20, 1), "float32"),
        "observation.segmentation.wrist": ((20, 20, 1), "int32"),
    }
    box = env.single_observation_space[WRIST]
    assert (box.dtype, box.low.min(), box.high.max()) == (np.uint8, 0, 255)


def test_the_schema_survives_json():
    schema = make(image_size=20, depth=True, segmentation=True).schema
    assert Schema.from_dict(json.loads(json.dumps(schema.to_dict()))) == schema


def test_lerobot_writes_and_reads_every_channel_and_takes_pictures_alone_for_pictures(tmp_path):
    from lerobot.datasets.lerobot_dataset import LeRobotDataset
    from lerobot.utils.feature_utils import dataset_to_policy_features

    env = make(image_size=20, depth=True, segmentation=True)
    features = {key: {**form, "shape": tuple(form["shape"])} for key, form in env.schema.to_lerobot().items()}
    dataset = LeRobotDataset.create("local/pictures", fps=20, features=features, root=tmp_path / "d", use_videos=False)
    observation, _ = env.reset(seed=0)
    frame = {key: values[0] for key, values in observation.items()}
    dataset.add_frame({**frame, "action": np.float32(hold(env)[0]), "task": "lift"})
    dataset.save_episode()
    dataset.finalize()
    read = LeRobotDataset("local/pictures", root=tmp_path / "d")
    item = read[0]
    for kind in ("depth", "segmentation"):
        np.testing.assert_array_equal(item[f"observation.{kind}.wrist"], frame[f"observation.{kind}.wrist"])
    np.testing.assert_allclose(item[WRIST], frame[WRIST].transpose(2, 0, 1) / 255, atol=1e-6)
    inputs = dataset_to_policy_features(read.meta.features)
    visual = {key: feature.shape for key, feature in inputs.items() if feature.type.name == "VISUAL"}
    assert visual == {EXTERNAL: (3, 20, 20), WRIST: (3, 20, 20)}


def test_without_cameras_nothing_is_drawn():
    env = MujocoVecEnv(num_envs=2)
    observation, _ = env.reset(seed=0)
    assert list(observation) == ["observation.state", "observation.environment_state"]
    assert "geom_poses" not in vars(env.worlds)  # MuJoCo does not even write them


def test_cameras_change_nothing_else():
    plain, seen = make(cameras=()), make(image_size=8)
    plan = np.random.default_rng(0).uniform(-0.02, 0.02, (20, 2, *plain.schema.action.shape))
    for env in (plain, seen):
        env.reset(seed=3)
    for actions in plan:
        (a, *expected), (b, *got) = plain.step(actions), seen.step(actions)
        for key in a:
            np.testing.assert_array_equal(a[key], b[key])
        for x, y in zip(expected[:3], got[:3], strict=True):
            np.testing.assert_array_equal(x, y)


# ---------------------------------------------------------------- what they show


def test_a_picture_is_what_the_ray_camera_sees_of_the_pose():
    env = make(task="drawer_place", image_size=32, depth=True, segmentation=True)
    observation, _ = env.reset(seed=4)
    model = env.worlds.model
    data = mujoco.MjData(model)
    set_pose(model, data, poses(env.worlds)[1])
    for name in BOTH:
        camera = RayCamera(model, cameras_of(model, env.robot)[name], 32, 32)
        seen = camera.render(data.geom_xpos[None], data.geom_xmat[None], depth=True, segmentation=True)
        np.testing.assert_array_equal(observation[f"observation.images.{name}"][1], seen.rgb[0])
        np.testing.assert_array_equal(observation[f"observation.segmentation.{name}"][1, ..., 0], seen.segmentation[0])
        depth = observation[f"observation.depth.{name}"][1, ..., 0]
        there = np.isfinite(seen.depth[0])
        np.testing.assert_array_equal(depth[there], seen.depth[0][there])
        assert (depth[~there] == 0).all()


def test_no_depth_means_that_nothing_is_there():
    env = make(depth=True, segmentation=True)
    observation, _ = env.reset(seed=0)
    nothing = observation["observation.segmentation.external"] == -1
    assert nothing.any()
    np.testing.assert_array_equal(observation["observation.depth.external"] == 0, nothing)


def test_the_picture_changes_when_the_arm_moves():
    env = make(1)
    before, _ = env.reset(seed=0)
    for _ in range(6):
        still, *_ = env.step(hold(env))
    moving = hold(env)
    moving[:, 1] = 0.02
    for _ in range(6):
        after, *_ = env.step(moving)
    for key in (EXTERNAL, WRIST):
        assert _difference(before[key], still[key]) < 1.0 < _difference(still[key], after[key])


def _difference(a, b):
    return np.abs(a.astype(float) - b).mean()


@pytest.mark.parametrize("robot", ["panda", "ur5e", "so101"])
def test_the_wrist_camera_sees_the_object_below_the_gripper_and_both_fingers(robot):
    env = make(1, robot=robot, segmentation=True, image_size=32)
    expert = ScriptedExpert("lift", env.schema, 1)
    observation, info = env.reset(seed=[2])
    expert.reset([2])
    for _ in range(60):
        if info["stage"][0]:  # the gripper is at the cube
            break
        observation, *_, info = env.step(expert.act(observation))
    model = env.worlds.model
    seen = observation["observation.segmentation.wrist"][0, ..., 0]
    assert info["stage"][0] >= 1
    assert (seen == model.geom("cube").id).mean() > 0.05
    fingers = [(seen == model.geom(f"{joint}_pad").id).any() for joint in env.robot.gripper_joints]
    assert all(fingers)


def test_each_world_has_its_own_colours_and_sizes():
    env = make(3, segmentation=True)
    model = env.worlds.model
    cube = model.geom("cube").id
    plain, _ = env.reset(seed=[1, 1, 1])
    rgba, size = np.array(model.geom_rgba), np.array(model.geom_size)
    rgba[cube, :3], size[cube] = (0, 1, 0), 1.5 * size[cube]
    env.worlds.write_model(np.array([1]), {"geom_rgba": rgba[None]})
    env.worlds.write_model(np.array([2]), {"geom_size": size[None]})
    observation, _ = env.reset(seed=[1, 1, 1])
    np.testing.assert_array_equal(observation[WRIST][0], plain[WRIST][0])
    on_cube = plain["observation.segmentation.wrist"][1, ..., 0] == cube
    red, green, _ = observation[WRIST][1][on_cube].mean(axis=0)
    assert green > 3 * red
    counts = (observation["observation.segmentation.wrist"] == cube).sum(axis=(1, 2, 3))
    assert counts[0] == counts[1]
    assert counts[2] > 1.8 * counts[0]


@pytest.mark.parametrize("name", LOOKS.active)
def test_randomisation_reaches_the_pictures(name):
    plain, random = make(4), make(4, randomization=Randomization(**{name: LOOKS.active[name]}))
    a, b = (env.reset(seed=0)[0] for env in (plain, random))
    for key in (EXTERNAL, WRIST):
        assert (a[key] != b[key]).any(axis=(1, 2, 3)).all(), key
    np.testing.assert_array_equal(a["observation.state"], b["observation.state"])


def test_looks_stay_for_an_episode_and_change_with_the_next():
    env = make(1, image_size=24, randomization=Randomization(light=(0.5, 1.5)), autoreset=True, max_episode_steps=4)
    env.reset(seed=0)
    brightness = [env.step(hold(env))[0][WRIST].mean() for _ in range(11)]
    first, second, third = brightness[:3], brightness[3:7], brightness[7:]
    for episode in (first, second, third):
        assert np.ptp(episode) < 1.0
    assert abs(np.mean(first) - np.mean(second)) > 2.0
    assert abs(np.mean(second) - np.mean(third)) > 2.0


def test_where_some_worlds_restart_the_others_keep_their_pictures():
    env = make(3, image_size=24, randomization=LOOKS, autoreset=True, max_episode_steps=4)
    env.reset(seed=0)
    for _ in range(2):
        env.step(hold(env))
    env.reset(options={"reset_mask": np.array([False, True, False])})
    env.step(hold(env))
    observation, *_, info = env.step(hold(env))
    np.testing.assert_array_equal(info["_final_obs"], [True, False, True])
    anew = env._images.draw(env.randomizer.look)
    for key in (EXTERNAL, WRIST):
        np.testing.assert_array_equal(observation[key], anew[key])
        changed = (observation[key] != info["final_obs"][key]).any(axis=(1, 2, 3))
        np.testing.assert_array_equal(changed, [True, False, True])


def test_threads_change_nothing():
    one, two = (make(5, image_size=16, threads=threads).reset(seed=0)[0] for threads in (1, 2))
    for key in one:
        np.testing.assert_array_equal(one[key], two[key])


# ---------------------------------------------------------------- one world


@pytest.mark.filterwarnings("ignore:.*A Box observation space m:UserWarning")
@pytest.mark.filterwarnings("error")
def test_gymnasium_s_checker_passes_with_cameras():
    env = gymnasium.make("robolearn/Lift-v0", render_mode="rgb_array", cameras=["external", "wrist"], image_size=24)
    check_env(env.unwrapped)
    env.close()


def test_render_shows_what_the_external_camera_sees():
    env = gymnasium.make(
        "robolearn/PickPlace-v0",
        render_mode="rgb_array",
        cameras=["external"],
        image_size=480,
        randomization=LOOKS,
    )
    for seed in (0, 1):
        observation, _ = env.reset(seed=seed)
        np.testing.assert_array_equal(env.render(), observation[EXTERNAL])
    observation, *_ = env.step(np.zeros(env.action_space.shape, np.float32))
    np.testing.assert_array_equal(env.render(), observation[EXTERNAL])
    env.close()


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"cameras": ("wirst",)}, "unknown camera 'wirst'; did you mean 'wrist'?"),
        ({"cameras": ("wrist", "external", "wrist")}, "camera 'wrist' is given twice"),
        ({"image_size": 0}, "at least 1 pixel"),
    ],
)
def test_mistakes_are_explained(options, sentence):
    with pytest.raises(UserError) as error:
        MujocoVecEnv(**{"cameras": BOTH} | options)
    assert sentence in str(error.value)


def test_worlds_that_cannot_be_seen_are_named():
    with pytest.raises(UserError, match="cameras cannot see object"):
        ImageObservations(object(), BOTH)
