"""Domain randomisation: what is drawn, from what, on what it depends, and what it leaves alone."""

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robolearn.errors import UserError
from robolearn.proprioception import pose_vector, proprioception
from robolearn.rotations import matrix_from_quat
from robolearn.sim.backends.mujoco import MujocoVecEnv
from robolearn.sim.experts.scene import rotation_vector
from robolearn.sim.randomization import LIMITS, Randomization
from robolearn.sim.randomizer import turned

EVERYTHING = Randomization(
    mass=(0.5, 2.0),
    size=(0.9, 1.1),
    friction=(0.5, 1.5),
    joint_damping=(0.5, 2.0),
    actuator_gain=(0.7, 1.3),
    latency=(0, 3),
    joint_noise=(0.0, 0.005),
    position_noise=(0.0, 0.005),
    rotation_noise=(0.0, 0.05),
    colour=(0.2, 0.8),
    camera_shift=(-0.02, 0.02),
    camera_turn=(-0.1, 0.1),
    light=(0.5, 1.5),
    light_tilt=(0.0, 0.5),
)


def make(ranges, task="lift", num_envs=1):
    return MujocoVecEnv(task, num_envs=num_envs, autoreset=False, randomization=ranges)


def actions_of(env, seed, steps):
    space = env.single_action_space
    rng = np.random.default_rng(seed)
    return rng.uniform(space.low, space.high, (steps, *space.shape)).astype(np.float32)


def play(env, seeds, *, steps=10):
    """Observations [steps + 1, num_envs, ...] by channel; each world's actions depend on its seed alone."""
    plans = np.stack([actions_of(env, seed, steps) for seed in seeds], axis=1)
    frames = [env.reset(seed=list(seeds))[0]]
    frames += [env.step(actions)[0] for actions in plans]
    return {key: np.stack([frame[key] for frame in frames]) for key in frames[0]}


def hold(env):
    action = np.zeros((env.num_envs, *env.single_action_space.shape))
    action[:, -1] = env.robot.gripper_width
    return action


def field(env, name, world=0):
    return np.array(getattr(env.worlds._batch.get_model(world), name))


# ---------------------------------------------------------------- what it depends on, and what it leaves alone


def test_without_ranges_nothing_changes_bit_for_bit():
    plain, idle = (play(make(ranges, num_envs=3), [4, 5, 6], steps=30) for ranges in (None, Randomization()))
    for key, values in plain.items():
        np.testing.assert_array_equal(values, idle[key])


def test_the_start_of_an_episode_stays_what_it_is():
    ranges = Randomization(mass=(0.5, 2.0), friction=(0.5, 1.5), actuator_gain=(0.7, 1.3), latency=(0, 3))
    plain, random = (play(make(r, num_envs=3), [4, 5, 6], steps=20) for r in (None, ranges))
    for key, values in plain.items():
        np.testing.assert_array_equal(values[0], random[key][0])
    assert np.abs(plain["observation.state"] - random["observation.state"]).max() > 1e-3


def test_another_size_keeps_where_things_stand():
    plain, random = (make(r, "sort", 4) for r in (None, Randomization(size=(0.8, 1.2))))
    states = []
    for env in (plain, random):
        env.reset(seed=0)
        states.append(env.worlds.state)
    np.testing.assert_array_equal(states[0].body_pos[..., :2], states[1].body_pos[..., :2])
    np.testing.assert_array_equal(states[0].body_quat, states[1].body_quat)


def test_an_episode_depends_on_its_seed_alone():
    seeds = [7, 3, 11]
    many, single = make(EVERYTHING, num_envs=8), make(EVERYTHING)
    filler = range(100, 105)
    together, backwards = play(many, [*seeds, *filler]), play(many, [*reversed(filler), *reversed(seeds)])
    for place, seed in enumerate(seeds):
        for key, values in play(single, [seed]).items():
            np.testing.assert_array_equal(values[:, 0], together[key][:, place])
            np.testing.assert_array_equal(values[:, 0], backwards[key][:, 7 - place])


def test_episodes_differ():
    env = make(EVERYTHING, num_envs=20)
    env.reset(seed=0)
    masses = [field(env, "body_mass", i)[env.worlds.model.body("cube").id] for i in range(20)]
    assert len(set(masses)) == 20
    assert set(env.randomizer.latency.tolist()) == {0, 1, 2, 3}
    shifts = env.randomizer.look()["shift"]
    assert len(np.unique(shifts)) == shifts.size


def test_later_episodes_of_a_world_do_not_depend_on_the_others():
    def third(num_envs):
        env = make(EVERYTHING, num_envs=num_envs)
        env.reset(seed=20)
        for _ in range(2):
            env.step(hold(env))
            observation, _ = env.reset(options={"reset_mask": np.arange(num_envs) == 0})
        return [observation[key][0] for key in observation]

    for alone, beside in zip(third(1), third(4), strict=True):
        np.testing.assert_array_equal(alone, beside)


def test_a_masked_reset_leaves_the_other_worlds_alone():
    env, undisturbed = (make(EVERYTHING, num_envs=3) for _ in range(2))
    plans = np.repeat(actions_of(env, 0, 8)[:, None], 3, axis=1)
    for e in (env, undisturbed):
        e.reset(seed=0)
        for action in plans[:4]:
            before, *_ = e.step(action)
    after, _ = env.reset(seed=[None, 77, None], options={"reset_mask": np.array([False, True, False])})
    for key in after:  # the sensors, too, say what they said
        np.testing.assert_array_equal(after[key][[0, 2]], before[key][[0, 2]])
    for action in plans[4:]:
        touched, expected = env.step(action)[0], undisturbed.step(action)[0]
        for key in touched:
            np.testing.assert_array_equal(touched[key][[0, 2]], expected[key][[0, 2]])


def test_restarts_within_a_step_draw_anew():
    env = MujocoVecEnv(num_envs=2, max_episode_steps=3, randomization=Randomization(mass=(0.5, 2.0)))
    env.reset(seed=0)
    cube, seen = env.worlds.model.body("cube").id, set()
    for _ in range(9):
        seen.add(field(env, "body_mass")[cube])
        env.step(hold(env))
    assert len(seen) == 3


# ---------------------------------------------------------------- the physics


def test_values_are_scaled_from_the_nominal_ones_never_from_the_last_draw():
    env = make(EVERYTHING, num_envs=2)
    model, cube = env.worlds.model, env.worlds.model.body("cube").id
    for seed in range(40):
        env.reset(seed=seed)
        for name, limits, at in (
            ("body_mass", EVERYTHING.mass, cube),
            ("geom_size", EVERYTHING.size, model.geom("cube").id),
            ("geom_friction", EVERYTHING.friction, slice(None)),
            ("dof_damping", EVERYTHING.joint_damping, slice(6, 15)),
            ("actuator_gainprm", EVERYTHING.actuator_gain, (slice(None), 0)),
        ):
            ratio = field(env, name)[at] / getattr(model, name)[at]
            assert ((ratio >= limits[0] - 1e-9) & (ratio <= limits[1] + 1e-9)).all(), name


def test_inertia_goes_with_mass_and_with_the_square_of_the_size():
    env = make(Randomization(mass=(0.5, 2.0), size=(0.8, 1.2)))
    env.reset(seed=3)
    model, body, geom = env.worlds.model, env.worlds.model.body("cube").id, env.worlds.model.geom("cube").id
    mass = field(env, "body_mass")[body] / model.body_mass[body]
    length = field(env, "geom_size")[geom] / model.geom_size[geom]
    inertia = field(env, "body_inertia")[body] / model.body_inertia[body]
    np.testing.assert_allclose(inertia, mass * length**2, rtol=1e-12)


def test_a_servo_is_scaled_as_a_whole():
    env = make(Randomization(actuator_gain=(0.7, 1.3)))
    env.reset(seed=1)
    model = env.worlds.model
    factor = field(env, "actuator_gainprm")[:, 0] / model.actuator_gainprm[:, 0]
    np.testing.assert_allclose(
        field(env, "actuator_biasprm")[:, 1:3] / model.actuator_biasprm[:, 1:3], factor[:, None] * np.ones(2)
    )
    assert len(np.unique(factor)) == len(factor)


def test_a_heavier_object_gains_less_speed():
    def height_after(factor):
        env = make(Randomization(mass=(factor, factor)))
        env.reset(seed=0)
        env.worlds.push("cube", np.array([[0, 0, 1.0, 0, 0, 0]]))
        start = env.worlds.state.pos("cube")[0, 2]
        for _ in range(2):
            env.step(hold(env))
        return env.worlds.state.pos("cube")[0, 2] - start

    mass = make(None).worlds.model.body("cube").mass[0]
    for factor in (0.5, 1.0, 2.0):
        expected = 0.5 * (1.0 / (factor * mass) - 9.81) * 0.1**2
        assert height_after(factor) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize(("task", "body"), [("lift", "cube"), ("edge_grasp", "box"), ("stack", "cube_a")])
@pytest.mark.parametrize("factor", [0.8, 1.2])
def test_an_object_of_another_size_rests_where_it_stands(task, body, factor):
    env, nominal = make(Randomization(size=(factor, factor)), task), make(None, task)
    nominal.reset(seed=0)
    env.reset(seed=0)
    np.testing.assert_allclose(env.worlds.state.size(body), factor * nominal.worlds.state.size(body))
    start = env.worlds.state.pos(body)
    rise = env.worlds.state.size(body)[:, 2] - nominal.worlds.state.size(body)[:, 2]
    np.testing.assert_allclose(start[:, 2], nominal.worlds.state.pos(body)[:, 2] + rise, rtol=0, atol=1e-9)
    for _ in range(10):
        env.step(hold(env))
    assert np.abs(env.worlds.state.pos(body) - start).max() < 2e-3


def test_what_must_fit_keeps_its_size():
    env = make(Randomization(size=(0.8, 1.2)), "peg_insert")
    env.reset(seed=0)
    np.testing.assert_array_equal(field(env, "geom_size"), env.worlds.model.geom_size)


@given(st.lists(st.floats(-3, 3), min_size=3, max_size=3), st.floats(0.5, 2.0))
def test_the_lowest_corner_stays_at_its_height_however_the_object_is_turned(turn, factor):
    env = SHARED
    models = env.randomizer._models
    half = env.worlds.model.geom_size[env.worlds.model.geom("cube").id]
    quat = turned(np.array((1.0, 0, 0, 0)), np.array(turn))
    at = env.worlds.model.jnt_qposadr[env.worlds.model.joint("cube").id]
    qpos = env.worlds.model.qpos0.copy()
    qpos[at : at + 7] = 0.4, 0.0, 0.3, *quat
    corners = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * half
    lowest = 0.3 + (corners @ matrix_from_quat(quat).T)[:, 2].min()
    models.settle(qpos, np.array([factor]))
    assert qpos[at + 2] + factor * (corners @ matrix_from_quat(quat).T)[:, 2].min() == pytest.approx(lowest, abs=1e-9)


SHARED = make(Randomization(size=(1.0, 1.0)))


# ---------------------------------------------------------------- actions and sensors


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_late_actions_are_the_same_actions_later(steps):
    late, prompt = make(Randomization(latency=(steps, steps))), make(None)
    late.reset(seed=2)
    prompt.reset(seed=2)
    plan = actions_of(prompt, 0, 12)[:, None].astype(float)
    delayed = [hold(prompt)] * steps + list(plan)
    for now, then in zip(plan, delayed, strict=False):
        a, b = late.step(now)[0], prompt.step(then)[0]
        for key in a:
            np.testing.assert_array_equal(a[key], b[key])


def test_no_action_of_the_last_episode_comes_late_into_the_next():
    def second(first_actions):
        env = make(Randomization(latency=(2, 2)))
        env.reset(seed=0)
        for action in first_actions:
            env.step(action[None])
        return play(env, [5])

    still, wild = second(np.zeros((3, 5))), second(actions_of(SHARED, 1, 3))
    np.testing.assert_array_equal(still["observation.state"], wild["observation.state"])


def test_noise_is_in_the_observation_and_not_in_the_world():
    ranges = Randomization(joint_noise=(0.002, 0.002), position_noise=(0.003, 0.003), rotation_noise=(0.02, 0.02))
    noisy, clean = make(ranges, num_envs=50), make(None, num_envs=50)
    seen, true = play(noisy, range(50), steps=4), play(clean, range(50), steps=4)
    np.testing.assert_array_equal(noisy.worlds.state.joints, clean.worlds.state.joints)
    joints = (seen["observation.state"] - true["observation.state"])[..., :7]
    assert joints.std() == pytest.approx(0.002, rel=0.1)
    poses, exact = seen["observation.environment_state"], true["observation.environment_state"]
    assert (poses - exact)[..., :3].std() == pytest.approx(0.003, rel=0.1)
    turns = rotation_vector(rotations(poses) @ rotations(exact).swapaxes(-1, -2))
    assert turns.std() == pytest.approx(0.02, rel=0.1)
    assert np.abs(np.diff(joints, axis=0)).min() > 0  # anew at every step
    assert np.corrcoef(joints[:-1].ravel(), joints[1:].ravel())[0, 1] == pytest.approx(0, abs=0.1)


def rotations(poses):
    x, y = poses.reshape(-1, 9)[:, 3:6].astype(float), poses.reshape(-1, 9)[:, 6:].astype(float)
    return np.stack((x, y, np.cross(x, y)), axis=2)


def test_the_tool_is_where_the_measured_joints_say():
    env = make(Randomization(joint_noise=(0.002, 0.002)), num_envs=20)
    observation = play(env, range(20))["observation.state"][-1]
    joints = observation[:, :7].astype(float)
    expected = proprioception(env.robot, joints, env.worlds.state.width)
    np.testing.assert_allclose(observation, expected, rtol=0, atol=1e-4)
    error = observation[:, 8:11] - pose_vector(env.worlds.state.tool_pos, env.worlds.state.tool_quat)[:, :3]
    assert np.abs(error).mean() > 5e-4


@given(st.lists(st.floats(-3, 3), min_size=6, max_size=6))
def test_turning_multiplies_rotations(numbers):
    first, second = np.array(numbers).reshape(2, 3)
    one = np.array((1.0, 0, 0, 0))
    both = turned(turned(one, first), second)
    expected = matrix_from_quat(turned(one, second)) @ matrix_from_quat(turned(one, first))
    np.testing.assert_allclose(matrix_from_quat(both), expected, atol=1e-9)
    np.testing.assert_allclose(matrix_from_quat(turned(one, first)) @ first, first, atol=1e-9)


# ---------------------------------------------------------------- looks


def test_only_colours_without_meaning_change():
    env = make(Randomization(colour=(0.2, 0.8)), "pick_place", 3)
    env.reset(seed=0)
    model = env.worlds.model
    free = np.isin(model.geom_bodyid, [model.body(name).id for name in env.task.recolour])
    rgba = np.stack([field(env, "geom_rgba", i) for i in range(3)])
    np.testing.assert_array_equal(rgba[:, ~free], np.broadcast_to(model.geom_rgba[~free], rgba[:, ~free].shape))
    assert ((rgba[:, free, :3] >= 0.2) & (rgba[:, free, :3] <= 0.8)).all()
    assert len(np.unique(rgba[:, model.geom("cube").id], axis=0)) == 3
    walls = rgba[:, model.geom_bodyid == model.body("bin").id]
    assert (walls == walls[:, :1]).all()  # what was of one colour still is


def test_colours_that_the_instruction_names_stay():
    env = make(Randomization(colour=(0.0, 1.0)), "stack")
    env.reset(seed=0)
    np.testing.assert_array_equal(field(env, "geom_rgba"), env.worlds.model.geom_rgba)


def test_camera_and_light_keep_to_their_ranges():
    env = make(EVERYTHING, num_envs=30)
    env.reset(seed=0)
    look, plain = env.randomizer.look(), make(Randomization()).randomizer.look()
    assert 0.015 < np.abs(look["shift"]).max() <= 0.02
    assert 0.08 < np.abs(look["turn"]).max() <= 0.1
    towards, usual = look["light"].towards, plain["light"].towards[0]
    np.testing.assert_allclose(np.linalg.norm(towards, axis=1), 1.0)
    tilt = np.arccos(towards @ usual)
    assert 0.4 < tilt.max() <= 0.5
    strength = look["light"].lamp / plain["light"].lamp
    assert 0.5 <= strength.min() < 0.7
    assert 1.3 < strength.max() <= 1.5
    assert not np.any(plain["shift"])
    assert not np.any(plain["turn"])


# ---------------------------------------------------------------- mistakes


def test_every_range_has_limits():
    assert {spec.name for spec in fields(Randomization)} == set(LIMITS)


@pytest.mark.parametrize(
    ("ranges", "sentence"),
    [
        ({"mass": (2.0, 1.0)}, "randomization.mass=(2.0, 1.0) is an impossible range: 2 is above 1"),
        ({"mass": (-0.5, 1.0)}, "randomization.mass=(-0.5, 1.0) is impossible: give numbers above 0"),
        ({"size": (0.0, 1.0)}, "give numbers above 0"),
        ({"actuator_gain": (0.0, 1.0)}, "give numbers above 0"),
        ({"joint_damping": (-1.0, 1.0)}, "give numbers of at least 0"),
        ({"latency": (-1, 1)}, "give numbers of at least 0"),
        ({"latency": (0, 1.5)}, "it counts control steps, give whole numbers"),
        ({"joint_noise": (-0.1, 0.1)}, "give numbers of at least 0"),
        ({"colour": (0.0, 255.0)}, "give numbers of at most 1"),
        ({"light_tilt": (0.0, 3.0)}, "give numbers of at most 1.5708"),
        ({"friction": 0.5}, "randomization.friction=0.5 is no range: give two numbers [low, high]"),
        ({"friction": (0.5,)}, "is no range"),
        ({"friction": (0.5, 1.0, 2.0)}, "is no range"),
        ({"friction": ("low", "high")}, "is no range"),
        ({"friction": (0.5, float("nan"))}, "is no range"),
        ({"light": (0.5, float("inf"))}, "is no range"),
        ({"frictoin": (0.5, 1.0)}, "unknown randomization 'frictoin'; did you mean 'friction'?"),
    ],
)
def test_an_impossible_range_is_explained(ranges, sentence):
    with pytest.raises(UserError) as error:
        Randomization.from_dict(ranges)
    assert sentence in str(error.value)


def test_a_range_may_be_one_value():
    assert Randomization(latency=[2, 2], mass=[1, 1]).active == {"latency": [2, 2], "mass": [1, 1]}
