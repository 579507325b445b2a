"""Worlds on MuJoCo Warp, here on the CPU: the same starts and the same physics as the `mujoco` backend's.

What steps is slow: MuJoCo Warp's kernels are compiled when they are first used, and cached by Warp.
"""

import sys
from functools import cache
from importlib.util import find_spec

import numpy as np
import pytest
from vec_env_contract import CONTRACT, closes_twice

from robolearn.cli import explain
from robolearn.errors import UserError
from robolearn.sim.backends.mujoco import MujocoVecEnv
from robolearn.sim.backends.warp import WarpVecEnv
from robolearn.sim.experts.scripted import ScriptedExpert
from robolearn.sim.randomization import Randomization

pytestmark = pytest.mark.skipif(find_spec("mujoco_warp") is None, reason="needs the extra `warp`")
N = 8
FREE_SPACE, AT_REST = 1e-5, 5e-5  # rad or m, and m, as the backend's documentation states them


def warp_env(task="lift", **options):
    return WarpVecEnv(task, num_envs=N, device="cpu", autoreset=False, **options)


@cache
def pair(task="lift"):
    """The same worlds on both backends; their models stay as they are."""
    return MujocoVecEnv(task, num_envs=N, autoreset=False), warp_env(task)


def address(env, name):
    """First address of a free body in qpos."""
    model = env.worlds.model
    return int(model.jnt_qposadr[model.body(name).jntadr[0]])


def hold(env, steps):
    """Let `steps` control steps pass with the arm at rest; qpos after each [steps, n, nq]."""
    command, seen = env.worlds.command_here(), []
    for _ in range(steps):
        env.worlds.follow_step(np.repeat(command[:, None], 10, axis=1))
        seen.append(env.worlds.qpos.copy())
    return np.array(seen)


def test_a_device_that_is_not_there_is_explained():
    with pytest.raises(UserError, match=r"no device 'cuda:77' for MuJoCo Warp: this machine has .*cpu"):
        WarpVecEnv(device="cuda:77")


@pytest.mark.parametrize("option", ["num_envs", "nconmax", "njmax"])
def test_there_must_be_a_world_and_room_for_a_contact(option):
    with pytest.raises(UserError, match="at least 1"):
        WarpVecEnv(device="cpu", **{option: 0})


def test_the_package_to_install_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "robolearn.sim.backends.warp_device", None)
    monkeypatch.delitem(sys.modules, "robolearn.sim.backends.warp_device")
    monkeypatch.setitem(sys.modules, "mujoco_warp", None)
    with pytest.raises(ModuleNotFoundError) as error:
        WarpVecEnv(device="cpu")
    assert "install the extra 'warp'" in str(explain(error.value))


@pytest.mark.parametrize(
    ("field", "sentence"),
    [
        ("geom_type", "MuJoCo Warp has one 'geom_type' for all worlds"),
        ("geom_frictoin", "the model has no field 'geom_frictoin'; did you mean 'geom_friction'?"),
    ],
)
def test_a_field_in_which_worlds_cannot_differ_is_refused(field, sentence):
    from robolearn.sim.backends.warp_device import check_field

    check_field("geom_friction")
    with pytest.raises(UserError) as error:
        check_field(field)
    assert sentence in str(error.value)


# ---------------------------------------------------------------- the same as on the mujoco backend


@pytest.mark.slow
@pytest.mark.parametrize("task", ["lift", "push"])  # without fixtures and with
def test_episodes_begin_as_on_the_mujoco_backend(task):
    ours, theirs = pair(task)
    seeds = [5, 3, 8, 1, 0, 9, 4, 2]
    for env in (ours, theirs):
        env.reset(seed=seeds)
    np.testing.assert_allclose(theirs.worlds.qpos, ours.worlds.qpos, rtol=0, atol=3e-7)
    a, b = ours.worlds.state, theirs.worlds.state
    for name in ("joints", "joint_velocities", "width", "tool_pos", "tool_quat", "body_pos", "body_quat", "half"):
        np.testing.assert_allclose(getattr(b, name), getattr(a, name), rtol=0, atol=1e-6, err_msg=name)
    np.testing.assert_array_equal(b.variant, a.variant)
    for seen, expected in zip(theirs.worlds.geom_poses, ours.worlds.geom_poses, strict=True):
        np.testing.assert_allclose(seen, expected, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_an_arm_in_free_space_follows_the_same_path():
    ours, theirs = pair()
    rng = np.random.default_rng(0)
    for env in (ours, theirs):
        env.reset(seed=0)
    goal = np.array((0.0, 0.0, 0.03, 0.5, 0.04))
    moved = 0.0
    for _ in range(40):
        actions = goal * rng.uniform(-0.3, 1.0, (N, 5))  # upwards on the whole
        for env in (ours, theirs):
            env.step(actions)
        a, b = ours.worlds.state, theirs.worlds.state
        np.testing.assert_allclose(b.joints, a.joints, rtol=0, atol=FREE_SPACE)
        np.testing.assert_allclose(b.tool_pos, a.tool_pos, rtol=0, atol=FREE_SPACE)
        np.testing.assert_allclose(b.joint_velocities, a.joint_velocities, rtol=0, atol=1e-3)
        moved = max(moved, np.abs(a.joint_velocities).max())
    assert moved > 0.2


@pytest.mark.slow
def test_a_cube_falls_and_comes_to_rest_the_same_way():
    ours, theirs = pair()
    heights = np.linspace(0.1, 0.4, N)
    for env in (ours, theirs):
        env.reset(seed=0)
        env.worlds.qpos[:, address(env, "cube") : address(env, "cube") + 2] = (0.45, 0.3)  # beside the gripper
        env.worlds.qpos[:, address(env, "cube") + 2] = heights
    at = slice(address(ours, "cube"), address(ours, "cube") + 3)
    fall, expected = hold(theirs, 24)[..., at], hold(ours, 24)[..., at]
    np.testing.assert_allclose(fall[0], expected[0], rtol=0, atol=1e-6)  # still in the air
    np.testing.assert_allclose(fall[0, :, 2], heights - 9.81 * 0.005**2 * 55, rtol=0, atol=1e-5)
    np.testing.assert_allclose(fall[-1], expected[-1], rtol=0, atol=AT_REST)
    np.testing.assert_allclose(fall[-1, :, 2], 0.02, rtol=0, atol=5e-4)


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda:0", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("task", ["lift", "push"])
def test_the_clean_expert_succeeds(task, device):
    env = WarpVecEnv(task, num_envs=N, device=device, autoreset=False)
    expert = ScriptedExpert(task, env.schema, N)
    expert.reset(list(range(N)))
    observation, info = env.reset(seed=0)
    done = info["success"]
    assert not done.any()
    for _ in range(env.max_episode_steps):
        observation, *_, info = env.step(expert.act(observation))
        done |= info["success"]
    assert done.all()


@pytest.mark.slow
@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
def test_it_keeps_the_contract(check):
    check(make_short)


@cache
def make_short(*, num_envs, autoreset):
    return WarpVecEnv("lift", num_envs=num_envs, device="cpu", autoreset=autoreset, max_episode_steps=5)


@pytest.mark.slow
def test_it_closes_twice():
    closes_twice(make_short.__wrapped__)


@pytest.mark.slow
@pytest.mark.gpu
def test_episodes_repeat_on_a_gpu_where_asked():
    env = WarpVecEnv(num_envs=64, device="cuda:0", deterministic=True, autoreset=False)
    ends = []
    for _ in range(2):
        expert = ScriptedExpert("lift", env.schema, 64)
        expert.reset(list(range(64)))
        observation, _ = env.reset(seed=0)
        for _ in range(30):
            observation, *_ = env.step(expert.act(observation))
        ends.append(env.worlds.qpos.copy())
    np.testing.assert_array_equal(*ends)


# ---------------------------------------------------------------- wrenches


@pytest.mark.slow
def test_a_wrench_acts_on_its_world_until_the_next_episode():
    ours, theirs = pair()
    wrench = np.zeros((N, 6))
    wrench[:3, 2] = 1.0  # N; the cube weighs 0.25 N
    wrench[1, 5] = 5e-5  # N m about the vertical
    ends = []
    for env in (ours, theirs):
        env.reset(seed=0)
        start = env.worlds.qpos.copy()
        env.worlds.push("cube", wrench)
        ends.append(hold(env, 2)[-1])
    at = address(theirs, "cube")
    np.testing.assert_allclose(ends[1], ends[0], rtol=0, atol=1e-4)
    assert (ends[1][:3, at + 2] > 0.1).all()
    turned = np.abs(ends[1] - start)[:, at + 3 : at + 7].max(axis=1) > 0.01
    np.testing.assert_array_equal(turned, np.arange(N) == 1)
    np.testing.assert_allclose(ends[1][3:, at + 2], 0.02, rtol=0, atol=5e-4)

    theirs.reset(seed=[0, *[None] * (N - 1)], options={"reset_mask": np.arange(N) == 0})
    np.testing.assert_allclose(hold(theirs, 2)[-1, :, at + 2] > 0.1, np.isin(np.arange(N), (1, 2)))


# ---------------------------------------------------------------- worlds that differ


def scaled(model, name, factors, of):
    """Values [len(factors), ...] of a field whose row `of` is scaled."""
    values = np.repeat(np.array(getattr(model, name), np.float64)[None], len(factors), axis=0)
    values[:, of] *= np.reshape(factors, (-1, *[1] * (values.ndim - 2)))
    return values


@pytest.mark.slow
def test_worlds_of_their_own_masses_and_sizes_are_those_of_the_mujoco_backend():
    ours, theirs = MujocoVecEnv(num_envs=N, autoreset=False), warp_env()
    model = ours.worlds.model
    body, geom = model.body("cube").id, model.geom("cube").id
    masses, sizes = np.array((0.5, 4.0, 1.0)), np.array((0.8, 1.2, 0.9))
    ids = np.array((0, 3, 6))
    fields = {
        "body_mass": scaled(model, "body_mass", masses, body),
        "body_inertia": scaled(model, "body_inertia", masses * sizes**2, body),
        "geom_size": scaled(model, "geom_size", sizes, geom),
    }
    for env in (ours, theirs):
        env.reset(seed=0)
        hold(env, 1)  # with arrays that are replaced now
        env.worlds.write_model(ids, fields)
        env.worlds.qpos[:, address(env, "cube") + 2] = 0.05
    for name in ("body_subtreemass", "dof_invweight0", "body_invweight0", "geom_rbound"):
        expected = [getattr(ours.worlds._batch.get_model(i), name) for i in range(N)]
        seen = np.array(getattr(theirs.worlds._device.model, name).numpy()).reshape(np.shape(expected))
        np.testing.assert_allclose(seen, expected, rtol=1e-4, atol=1e-6, err_msg=name)
    half = theirs.worlds.state.size("cube")
    np.testing.assert_allclose(half, ours.worlds.state.size("cube"))
    wrench = np.zeros((N, 6))
    wrench[:, 2] = 0.5  # N: twice the weight of the nominal cube, half that of the heaviest
    drop, expected = hold(theirs, 10)[-1], hold(ours, 10)[-1]
    np.testing.assert_allclose(drop, expected, rtol=0, atol=AT_REST)
    np.testing.assert_allclose(drop[:, address(theirs, "cube") + 2], half[:, 2], rtol=0, atol=1e-3)
    for env in (ours, theirs):
        env.worlds.push("cube", wrench)
    flight, expected = hold(theirs, 4)[-1], hold(ours, 4)[-1]
    np.testing.assert_allclose(flight, expected, rtol=0, atol=1e-3)
    np.testing.assert_array_equal(flight[:, address(theirs, "cube") + 2] > 0.1, np.arange(N) != 3)
    np.testing.assert_array_equal(
        theirs.worlds.read_model("body_mass")[ids, body], fields["body_mass"][:, body].astype(np.float32)
    )
    assert theirs.worlds.read_model("geom_friction") is None


@pytest.mark.slow
def test_friction_and_margins_of_their_own():
    env = warp_env()
    env.reset(seed=0)
    model, at = env.worlds.model, address(env, "cube")
    friction = model.geom_friction * np.linspace(0.1, 1.5, N)[:, None, None]
    margin = np.repeat(model.geom_margin[None], N, axis=0)
    env.worlds.write_model(np.arange(N), {"geom_friction": friction, "geom_margin": margin})
    wrench = np.zeros((N, 6))
    wrench[:, 0] = 0.15  # N: friction of 0.6 holds against it
    env.worlds.push("cube", wrench)
    start = env.worlds.qpos[:, at].copy()
    slid = hold(env, 6)[-1, :, at] - start
    assert (np.diff(slid[:4]) < 0).all()
    np.testing.assert_array_equal(slid > 0.01, np.linspace(0.1, 1.5, N) < 0.6)

    margin[: N // 2, model.geom("cube").id] = 0.01
    env.reset(seed=0)
    env.worlds.write_model(np.arange(N), {"geom_margin": margin})
    height = hold(env, 10)[-1, :, at + 2]
    assert (height[: N // 2] > height[N // 2 :] + 0.002).all()


@pytest.mark.slow
def test_randomisation_draws_what_it_draws_on_the_mujoco_backend():
    ranges = Randomization(
        mass=(0.5, 2.0),
        size=(0.9, 1.1),
        friction=(0.7, 1.3),
        joint_damping=(0.5, 2.0),
        actuator_gain=(0.9, 1.1),
        colour=(0.0, 1.0),
    )
    ours = MujocoVecEnv(num_envs=N, randomization=ranges, max_episode_steps=4)
    theirs = WarpVecEnv(num_envs=N, device="cpu", randomization=ranges, max_episode_steps=4)
    seen = [env.reset(seed=0)[0] for env in (ours, theirs)]
    for _ in range(6):  # over the end of an episode
        for key in seen[0]:
            np.testing.assert_allclose(seen[1][key], seen[0][key], rtol=0, atol=5e-4, err_msg=key)
        seen = [env.step(np.tile((0.0, 0.0, 0.01, 0.0, 0.04), (N, 1)))[0] for env in (ours, theirs)]
    for name in ("geom_friction", "actuator_gainprm", "dof_damping", "geom_rgba"):
        np.testing.assert_allclose(theirs.worlds.read_model(name), ours.worlds.read_model(name), rtol=1e-6)


# ---------------------------------------------------------------- what goes wrong


@pytest.mark.slow
@pytest.mark.parametrize(("option", "room"), [("nconmax", 2), ("njmax", 8)])
def test_too_little_room_for_contacts_is_reported(option, room):
    env = warp_env(**{option: room})
    env.reset(seed=0)
    with pytest.warns(RuntimeWarning, match=f"8 of 8 worlds: no room .*: make {option} larger than {room}"):
        hold(env, 1)


@pytest.mark.slow
def test_a_world_that_diverges_is_reported_and_put_back():
    _, env = pair()
    env.reset(seed=0)
    hold(env, 1)
    env.worlds.qpos[2, 0] = np.nan
    with pytest.warns(RuntimeWarning, match="world 2: diverged"):
        hold(env, 1)
    np.testing.assert_allclose(env.worlds.qpos[2], env.worlds.model.qpos0, rtol=0, atol=1e-6)
    assert np.isfinite(env.worlds.state.tool_pos).all()
    expected = np.delete(hold(env, 2)[-1], 2, axis=0)
    env.reset(seed=0)
    np.testing.assert_allclose(np.delete(hold(env, 4)[-1], 2, axis=0), expected, rtol=0, atol=1e-6)
