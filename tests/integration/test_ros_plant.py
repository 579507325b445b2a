"""The MuJoCo plant by itself."""

import numpy as np
import pytest

from robolearn.errors import UserError
from robolearn.proprioception import pose_vector
from robolearn.sim.backends.mujoco import MujocoVecEnv
from robolearn.sim.ros_arm import make_plant


@pytest.fixture(scope="module")
def plant():
    return make_plant(task="lift", robot="panda", period=1 / 250)


def test_an_episode_starts_as_in_simulation(plant):
    env = MujocoVecEnv("lift", "panda", num_envs=1)
    observation, _ = env.reset(seed=[5])
    plant.reset(5)
    state = plant.state
    np.testing.assert_allclose(state.joints, observation["observation.state"][:, :7], atol=1e-6)
    cube = pose_vector(*state.objects["cube"])
    np.testing.assert_allclose(cube, observation["observation.environment_state"], atol=1e-6)
    env.close()


def test_it_holds_its_pose_until_a_command_comes_and_then_follows(plant):
    plant.reset(1)
    begin = plant.state.joints.copy()
    for _ in range(50):
        plant.step(None)
    np.testing.assert_allclose(plant.state.joints, begin, atol=5e-3)
    goal = np.concatenate((begin[0], plant.state.width))
    goal[0] += 0.05
    for _ in range(100):
        plant.step(goal)
    assert abs(plant.state.joints[0, 0] - goal[0]) < 0.01
    assert plant.stage() == (0, False)
    assert plant.pose.shape == (16,)


def test_a_rate_that_does_not_fit_the_physics_is_refused():
    with pytest.raises(UserError, match="300 Hz"):
        make_plant(task="lift", robot="panda", period=1 / 300)


def settled(steps=250, **flaws):
    """Where the arm stands after holding its start for a while, less the start [n_joints]."""
    flawed = make_plant(task="lift", robot="panda", period=1 / 250, **flaws)
    flawed.reset(1)
    begin = flawed.state.joints[0].copy()
    for _ in range(steps):
        flawed.step(None)
    return flawed, flawed.state.joints[0] - begin


def test_an_arm_that_does_not_carry_its_weight_sags_and_works_against_it():
    _, perfect = settled()
    heavy, sagged = settled(gravity=0.2)
    assert np.abs(sagged).max() > 5 * np.abs(perfect).max()
    assert np.abs(heavy.effort).max() > 5.0  # N m


def test_weaker_servos_sag_further():
    _, sagged = settled(gravity=0.2)
    _, further = settled(gravity=0.2, gain=0.5)
    assert np.abs(further).max() > 1.5 * np.abs(sagged).max()


def test_an_arm_that_is_deaf_stays_with_its_last_command(plant):
    plant.reset(1)
    plant.step(None)
    begin = plant.state.joints.copy()
    for _ in range(50):
        plant.hold()
    np.testing.assert_allclose(plant.state.joints, begin, atol=5e-3)


def test_its_cameras_see_what_those_of_the_simulation_see():
    env = MujocoVecEnv("lift", "panda", num_envs=1, cameras=["external", "wrist"], image_size=32)
    observation, _ = env.reset(seed=[5])
    seeing = make_plant(task="lift", robot="panda", period=1 / 250, cameras=("external", "wrist"), image_size=32)
    seeing.reset(5)
    for name, picture in seeing.pictures().items():
        assert picture.shape == (32, 32, 3)
        np.testing.assert_array_equal(picture, observation[f"observation.images.{name}"][0])
    assert list(seeing.pictures()) == ["external", "wrist"]
    env.close()


def test_a_plant_without_cameras_draws_nothing(plant):
    assert plant.pictures() == {}
