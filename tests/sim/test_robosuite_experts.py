"""Our scripts of robosuite's tasks."""

from functools import cache
from importlib.util import find_spec

import numpy as np
import pytest

from robolearn.errors import UserError
from robolearn.eval.rollout import run_episodes
from robolearn.schema import Feature, Schema
from robolearn.sim.backends.robosuite import RobosuiteVecEnv
from robolearn.sim.experts.adapted import AdaptedExpert
from robolearn.sim.experts.robosuite import DOWN, View

needs_robosuite = pytest.mark.skipif(find_spec("robosuite") is None, reason="needs the extra `robosuite`")


def a_view(state, things):
    names = ("gripper_width", "x", "y", "z", "r11", "r21", "r31", "r12", "r22", "r32")
    parts = tuple(f"cube_{part}" for part in ("pos_x", "pos_y", "pos_z", "quat_x", "quat_y", "quat_z", "quat_w"))
    schema = Schema(
        {
            "observation.state": Feature("float32", (10,), names, ("1",) * 10, "observation"),
            "observation.environment_state": Feature("float32", (7,), parts, ("1",) * 7, "observation"),
            "action": Feature("float32", (1,), ("a",), ("1",), "action", (-1.0,), (1.0,)),
        },
        20,
    )
    return View({"observation.state": np.array(state), "observation.environment_state": np.array(things)}, schema)


def hand_at(yaw, cube_yaw=0.0):
    """A hand that points down and opens along `yaw`, rad."""
    opening = np.array([np.cos(yaw), np.sin(yaw), 0.0])
    half = cube_yaw / 2
    return a_view([0.03, 1, 2, 3, *opening, *np.cross(DOWN, opening)], [4, 5, 6, 0, 0, np.sin(half), np.cos(half)])


def test_the_view_says_where_things_are():
    view = hand_at(0.3, cube_yaw=0.7)
    assert view.width == 0.03
    np.testing.assert_allclose(view.hand, (1, 2, 3))
    np.testing.assert_allclose(view.rotation @ (0, 0, 1), DOWN, atol=1e-12)
    place, along = view.body("cube")
    np.testing.assert_allclose(place, (4, 5, 6))
    np.testing.assert_allclose(along, (np.cos(0.7), np.sin(0.7), 0), atol=1e-12)


@pytest.mark.parametrize(
    ("yaw", "quarters", "turn"), [(0.2, False, -0.2), (3.0, False, np.pi - 3.0), (1.5, True, np.pi / 2 - 1.5)]
)
def test_the_hand_turns_the_shorter_way(yaw, quarters, turn):
    wanted = np.array([1.0, 0.0, 0.0])
    np.testing.assert_allclose(hand_at(yaw).turn_to(wanted, quarters=quarters), (0, 0, turn), atol=1e-9)


@cache
def worlds(task):
    return RobosuiteVecEnv(task, num_envs=2, max_episode_steps=200, reward="sparse", autoreset=False)


def demonstrate(task, *, noise=0.0, seeds=range(2)):
    env = worlds(task)
    return run_episodes(env, AdaptedExpert(env.task_name, env.schema, 2, noise=noise), seeds, record=True)


@needs_robosuite
def test_lift_always_succeeds():
    for episode in demonstrate("Lift"):
        assert episode.success
        assert episode.length < 40


@needs_robosuite
@pytest.mark.slow
def test_the_square_nut_is_always_put_on_its_peg():
    assert all(episode.success for episode in demonstrate("NutAssemblySquare", seeds=range(6)))


@needs_robosuite
@pytest.mark.slow
def test_noise_makes_it_slower():
    clean, noisy = ([e.length for e in demonstrate("Lift", noise=noise, seeds=range(6))] for noise in (0.0, 0.3))
    assert np.mean(noisy) > np.mean(clean) + 3


@pytest.mark.parametrize("task", ["Lift", "NutAssemblySquare"])
def test_a_gripper_that_the_script_does_not_know_is_refused(task):
    state = Feature("float32", (1,), ("finger_joint",), ("rad",), "observation")
    action = Feature("float32", (1,), ("a",), ("1",), "action", (-1.0,), (1.0,))
    schema = Schema({"observation.state": state, "action": action}, 20)
    with pytest.raises(UserError, match=f"the script of 'robosuite/{task}' needs a gripper of two sliding fingers"):
        AdaptedExpert(f"robosuite/{task}", schema, 1)


@needs_robosuite
def test_our_name_of_an_arm_is_understood():
    env = RobosuiteVecEnv("Lift", robot="panda", max_episode_steps=4)
    assert (env.robot, env.task_name) == ("panda", "robosuite/Lift")
    env.close()
