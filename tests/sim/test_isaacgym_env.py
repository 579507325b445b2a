"""The Isaac Gym backend against a stand-in that serves Isaac Gym's tensors from MuJoCo."""

import ast
import inspect
import sys
from functools import cache
from itertools import combinations
from pathlib import Path

import fake_isaacgym
import numpy as np
import pytest
from vec_env_contract import CONTRACT, closes_twice

from robolearn.errors import UserError
from robolearn.sim.backends.isaacgym import IsaacGymVecEnv
from robolearn.sim.backends.mujoco import MujocoVecEnv
from robolearn.sim.curriculum import Curriculum
from robolearn.sim.experts.scripted import ScriptedExpert
from robolearn.sim.privileged import Privilege, PrivilegedVecEnv
from robolearn.sim.robots import ROBOTS
from robolearn.sim.tasks import TASKS

STUBS = Path(__file__).parents[2] / "typings" / "isaacgym"
WEIGHT = 0.0256 * 9.81  # of lift's cube, N


@pytest.fixture(autouse=True, scope="module")
def _installed():
    with pytest.MonkeyPatch.context() as patch:
        fake_isaacgym.install(patch)
        yield


@cache
def make(*, num_envs, autoreset, task="lift", robot="panda", max_episode_steps=5):
    return IsaacGymVecEnv(
        task, robot, num_envs=num_envs, device="cpu", autoreset=autoreset, max_episode_steps=max_episode_steps
    )


def make_worlds(num_worlds=2, task="lift"):
    """Worlds at their start, and commands that let the arm stay there for a control step."""
    worlds = make(num_envs=num_worlds, autoreset=False, task=task).worlds
    worlds.reset(list(range(num_worlds)))
    return worlds, np.repeat(worlds.command_here()[:, None], 10, axis=1)


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
def test_isaacgym_keeps_the_contract(check):
    check(make)


def test_isaacgym_closes_twice():
    closes_twice(make.__wrapped__)


@pytest.mark.parametrize(
    ("task", "robot"), [("lift", r) for r in ROBOTS] + [(t, "panda") for t in TASKS if t != "lift"]
)
def test_an_episode_starts_as_on_mujoco(task, robot):
    ours, theirs = make(num_envs=2, autoreset=False, task=task, robot=robot), MujocoVecEnv(task, robot, num_envs=2)
    for env in (ours, theirs):
        env.reset(seed=5)
    a, b = ours.worlds.state, theirs.worlds.state
    for name in ("joints", "width", "tool_pos", "tool_quat", "body_pos", "body_quat", "half", "variant"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=0, atol=1e-9, err_msg=name)
    for ours_, theirs_ in zip(ours.worlds.geom_poses, theirs.worlds.geom_poses, strict=True):
        np.testing.assert_allclose(ours_, theirs_, rtol=0, atol=1e-9)


@pytest.mark.parametrize("robot", ROBOTS)
def test_the_arm_moves_as_on_mujoco(robot):
    ours, theirs = make(num_envs=2, autoreset=False, robot=robot), MujocoVecEnv("lift", robot, num_envs=2)
    for env in (ours, theirs):
        env.reset(seed=0)
    box = ours.single_action_space
    for action in np.random.default_rng(0).uniform(box.low, box.high, (20, 2, len(box.low))):
        (a, *_), (b, *_) = ours.step(action), theirs.step(action)
        np.testing.assert_allclose(a["observation.state"], b["observation.state"], rtol=0, atol=1e-5)
        # contacts differ: the cube sinks in by less than a millimetre
        key = "observation.environment_state"
        np.testing.assert_allclose(a[key], b[key], rtol=0, atol=1e-3)


@pytest.mark.parametrize("task", ["lift", "drawer_place"])
def test_the_expert_s_way_to_success_is_open(task):
    env = make(num_envs=2, autoreset=False, task=task, max_episode_steps=240)
    expert = ScriptedExpert(task, env.schema, 2)
    expert.reset([0, 1])
    observation, _ = env.reset(seed=0)
    done = np.zeros(2, bool)
    for _ in range(240):
        observation, _, terminated, _, _ = env.step(expert.act(observation))
        done |= terminated
        if done.all():
            break
    assert done.all()


def test_a_force_lifts_an_object_until_told_otherwise():
    worlds, hold = make_worlds()
    start = worlds.state.pos("cube")
    wrench = np.zeros((2, 6))
    wrench[1, 2] = 1.2 * WEIGHT
    worlds.push("cube", wrench)
    worlds.follow_step(hold)
    once = worlds.state.pos("cube")
    worlds.follow_step(hold)
    twice = worlds.state.pos("cube")
    drop = 0.05**2 * 0.2 * 9.81 / 2  # in a control step from rest, upwards
    np.testing.assert_allclose(once[1] - start[1], (0, 0, drop), atol=0.2 * drop)
    np.testing.assert_allclose(twice[1] - start[1], (0, 0, 4 * drop), atol=0.2 * drop)
    np.testing.assert_allclose(twice[0], start[0], atol=3e-4)
    worlds.push("cube", np.zeros((2, 6)))
    for _ in range(6):
        worlds.follow_step(hold)
    assert worlds.state.pos("cube")[1, 2] < 0.021


def test_a_torque_turns_an_object_about_the_axis_of_the_base_frame():
    worlds, hold = make_worlds()
    before = worlds.state.rot("cube")
    wrench = np.zeros((2, 6))
    wrench[:, 2], wrench[:, 3] = 1.5 * WEIGHT, 1e-4
    worlds.push("cube", wrench)
    for _ in range(2):
        worlds.follow_step(hold)
    turn = worlds.state.rot("cube") @ before.swapaxes(1, 2)
    angle = np.stack((turn[:, 2, 1] - turn[:, 1, 2], turn[:, 0, 2] - turn[:, 2, 0], turn[:, 1, 0] - turn[:, 0, 1]), 1)
    assert (angle[:, 0] > 0.05).all()
    assert (np.abs(angle[:, 1:]) < 0.01).all()


def test_a_new_episode_is_not_pushed():
    worlds, hold = make_worlds()
    worlds.push("cube", np.full((2, 6), (0, 0, 2 * WEIGHT, 0, 0, 0)))
    worlds.reset([7], np.array([1]))
    for _ in range(2):
        worlds.follow_step(hold)
    height = worlds.state.pos("cube")[:, 2]
    assert height[0] > 0.03
    assert height[1] < 0.021


def test_resets_before_the_same_step_all_count():
    worlds, hold = make_worlds(3)
    for seed, world in ((11, 0), (12, 2), (13, 0)):
        worlds.reset([seed], np.array([world]))
    expected = worlds.state.pos("cube")
    worlds.follow_step(hold)
    np.testing.assert_allclose(worlds.state.pos("cube"), expected, atol=3e-4)


def test_fixtures_stand_where_the_episode_has_them():
    worlds, hold = make_worlds(task="drawer_place")
    expected = worlds.state
    assert np.abs(expected.pos("cabinet")[0] - expected.pos("cabinet")[1]).max() > 1e-3
    worlds.follow_step(hold)
    for body in ("cabinet", "drawer"):
        np.testing.assert_allclose(worlds.state.pos(body), expected.pos(body), atol=1e-6)
        np.testing.assert_allclose(worlds.state.quat(body), expected.quat(body), atol=1e-6)


def test_the_same_surfaces_touch_as_on_mujoco():
    worlds, _ = make_worlds()
    theirs, ours = worlds.model, worlds._scene._sim.envs[0].model
    ids = {theirs.geom(g).name or f"geom{g}": g for g in range(theirs.ngeom)}
    pairs = [(g, ids[ours.geom(g).name.partition("/")[2]]) for g in range(ours.ngeom)]

    def touch(model, a, b):
        kind, likes = model.geom_contype, model.geom_conaffinity
        return bool(kind[a] & likes[b] or kind[b] & likes[a])

    for (a, a_), (b, b_) in combinations(pairs, 2):
        if theirs.geom_bodyid[a_] != theirs.geom_bodyid[b_]:
            assert touch(ours, a, b) == touch(theirs, a_, b_)


def write(worlds, name, world, change):
    """Change a field of the model in one world."""
    values = np.array(getattr(worlds.model, name))
    change(values)
    worlds.write_model(np.array([world]), {name: values[None]})


def test_worlds_have_their_own_mass_and_friction():
    worlds, hold = fresh_worlds()
    cube = worlds.model.body("cube").id

    def heavier(mass):
        mass[cube] *= 2

    write(worlds, "body_mass", 1, heavier)
    worlds.push("cube", np.full((2, 6), (0, 0, 1.5 * WEIGHT, 0, 0, 0)))
    for _ in range(3):
        worlds.follow_step(hold)
    light, heavy = worlds.state.pos("cube")[:, 2]
    assert light > 0.05
    assert heavy < 0.021

    def slippery(friction):
        friction *= 0.1

    worlds.reset([0, 1])
    write(worlds, "geom_friction", 0, slippery)
    start = worlds.state.pos("cube")
    worlds.push("cube", np.full((2, 6), (0.5 * WEIGHT, 0, 0, 0, 0, 0)))
    for _ in range(4):
        worlds.follow_step(hold)
    slipped, stayed = (worlds.state.pos("cube") - start)[:, 0]
    assert slipped > 0.02
    assert stayed < 0.002


def fresh_worlds(task="lift"):
    """Two worlds that no other test shares, as models are to change."""
    worlds = IsaacGymVecEnv(task, num_envs=2, device="cpu").worlds
    worlds.reset([0, 1])
    return worlds, np.repeat(worlds.command_here()[:, None], 10, axis=1)


def test_worlds_have_their_own_drives_and_limits():
    worlds, hold = fresh_worlds()
    joint = worlds.model.joint("panda_joint1").id

    def narrow(limits):
        limits[joint] = (-0.05, 0.05)

    def weak(gain):
        gain *= 0.01

    worlds.reset([3, 3])
    write(worlds, "jnt_range", 1, narrow)
    hold[..., 0] = 0.3
    for _ in range(6):
        worlds.follow_step(hold)
    free, limited = worlds.state.joints[:, 0]
    assert free > 0.2
    assert limited < 0.1

    worlds.reset([3, 3])
    for name in ("actuator_gainprm", "actuator_biasprm"):
        write(worlds, name, 0, weak)
    hold[..., 0] = -0.3
    worlds.follow_step(hold)
    slow, fast = worlds.state.joints[:, 0]
    assert fast < slow < 0.05


def test_fields_are_read_as_they_were_written():
    worlds, _ = fresh_worlds()
    assert worlds.read_model("geom_rgba") is None
    rgba = np.full((1, *worlds.model.geom_rgba.shape), 0.25)
    worlds.write_model(np.array([1]), {"geom_rgba": rgba})
    np.testing.assert_array_equal(worlds.read_model("geom_rgba"), [worlds.model.geom_rgba, rgba[0]])


def test_a_field_that_cannot_vary_is_named():
    worlds, _ = make_worlds()
    with pytest.raises(UserError, match="Isaac Gym cannot vary 'geom_size' between worlds"):
        worlds.write_model(np.array([0]), {"geom_size": worlds.model.geom_size[None]})


def test_privileged_actions_work_here_too():
    env = IsaacGymVecEnv("lift", num_envs=2, device="cpu")
    privileged = PrivilegedVecEnv(env, Curriculum(), Privilege())
    privileged.reset(seed=0)
    for _ in range(3):
        observation, *_ = privileged.step(privileged.action_space.sample())
    assert privileged.observation_space.contains(observation)


def test_physics_that_goes_wrong_is_reported(monkeypatch):
    worlds, hold = make_worlds()
    motion = worlds._scene.read()
    motion.pos[1] = np.nan
    monkeypatch.setattr(worlds._scene, "read", lambda: motion)
    with pytest.warns(RuntimeWarning, match="world 1: its physics diverged"):
        worlds.follow_step(hold)
    worlds.reset([0, 1])


def test_a_missing_isaac_gym_is_explained(monkeypatch):
    for name in ("isaacgym", "isaacgym.gymapi", "isaacgym.gymtorch"):
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(UserError) as error:
        IsaacGymVecEnv()
    for word in ("'Isaac Gym Preview 4'", "NVIDIA", "Python 3.6 to 3.8", "backend=warp"):
        assert word in str(error.value)


@pytest.mark.parametrize(
    "reason",
    [
        ImportError("PyTorch was imported before isaacgym modules"),
        RuntimeError("No gym module found for the active version of Python"),
    ],
)
def test_an_isaac_gym_that_does_not_load_says_why(monkeypatch, reason):
    plain = __import__

    def refuse(name, *args, **kwargs):
        if name.startswith("isaacgym"):
            raise reason
        return plain(name, *args, **kwargs)

    monkeypatch.setattr("builtins.__import__", refuse)
    with pytest.raises(UserError, match=f"cannot be imported here: {reason}"):
        IsaacGymVecEnv()


@pytest.mark.parametrize("device", ["gpu", "cuda:first", "CPU"])
def test_an_unknown_device_is_refused(device):
    with pytest.raises(UserError, match=f"unknown device '{device}'"):
        IsaacGymVecEnv(device=device)


def test_at_least_one_world():
    with pytest.raises(UserError, match="at least 1"):
        IsaacGymVecEnv(num_envs=0)


# ---------------------------------------------------------------- the stand-in


def stubs(name):
    return ast.parse((STUBS / name).read_text()).body


def test_the_stand_in_offers_what_the_stubs_declare_and_no_more():
    for node in [*stubs("gymapi.pyi"), *stubs("gymtorch.pyi")]:
        if isinstance(node, ast.FunctionDef):
            assert callable(getattr(fake_isaacgym, node.name))
        elif isinstance(node, ast.AnnAssign):
            assert hasattr(fake_isaacgym, node.target.id)
        elif isinstance(node, ast.ClassDef) and (fields := _fields(node)):
            assert set(getattr(fake_isaacgym, node.name).__slots__) == fields
    (gym,) = (node for node in stubs("gymapi.pyi") if getattr(node, "name", "") == "Gym")
    declared = {method.name: len(method.args.posonlyargs) for method in gym.body}
    offered = inspect.getmembers(fake_isaacgym.Gym, inspect.isfunction)
    assert declared == {
        name: len(inspect.signature(method).parameters) for name, method in offered if not name.startswith("_")
    }


def _fields(node):
    return {line.target.id for line in node.body if isinstance(line, ast.AnnAssign)}
