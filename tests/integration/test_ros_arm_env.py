"""The simulated arm as an environment through real ROS 2: takeover, buttons, an operator, and the arm killed."""

import os
import signal
import threading

import numpy as np
import pytest

pytest.importorskip("rclpy")

from ros_bystander import PATIENCE, Bystander, until

from robolearn.action_space import make_action_space
from robolearn.errors import UserError
from robolearn.proprioception import poses_feature, state_feature
from robolearn.real.ros2.arm import RosArmEnv, require_readable
from robolearn.real.ros2.processes import Child
from robolearn.real.settings import Settings
from robolearn.schema import Schema
from robolearn.sim.collision import collision_model
from robolearn.sim.robots import get_robot

pytestmark = [pytest.mark.ros, pytest.mark.alone, pytest.mark.slow]
ROBOT = get_robot("panda")
SPACE = make_action_space("ee_delta", robot=ROBOT, dt=0.05)
FORWARD = np.array((0.008, 0.0, 0.0, 0.0, 0.04), np.float32)
PERSON = np.array((0.0005, 0.0, 0.0, 0.0, 0.04))  # goes on while it is noticed: success must not come of it
STILL = np.array((0.0, 0.0, 0.0, 0.0, 0.06), np.float32)


def schema(objects=("cube",), n_variants=1):
    features = {
        "observation.state": state_feature(ROBOT),
        "observation.environment_state": poses_feature(objects, n_variants),
        "action": SPACE.feature,
    }
    return Schema(features, 20)


@pytest.fixture
def bystander(domain):
    made = Bystander(domain)
    yield made
    made.close()


@pytest.fixture
def arm(domain, tmp_path):
    options = ("--plant", "kinematic_plant", "--task", "move", "--robot", "panda")
    child = Child("arm", "robolearn.real.ros2.simulated_arm", options, domain=domain, log=tmp_path / "arm.txt")
    yield child
    child.end()


def open_arm(domain, *, settings=None, **options):
    return RosArmEnv(
        schema=schema(),
        action_space=SPACE,
        settings=settings or Settings(stale_after=1.0, deadline=0.05),
        collision=collision_model(SPACE.robot),
        domain=domain,
        instruction="move",
        stage_names=("move",),
        max_episode_steps=60,
        **options,
    )


@pytest.fixture
def env(arm, domain):
    made = open_arm(domain, simulated=True, confirm=False)
    yield made
    made.close()


def ended(env):
    """The end of an episode, after the control steps that went by while nobody acted."""
    for _ in range(59):
        _, reward, terminated, truncated, _ = env.step(STILL[None])
        if terminated[0] or truncated[0]:
            break
    return reward[0], terminated[0]


def test_an_episode_a_takeover_and_each_button(env, bystander):
    from geometry_msgs.msg import TwistStamped
    from std_msgs.msg import Float64MultiArray

    observation, _ = env.reset(seed=[5])
    until(lambda: bystander.news.get("seed") == 5, "news of the episode")
    assert observation["observation.environment_state"].shape == (1, 9)
    for _ in range(59):
        _, reward, terminated, truncated, info = env.step(FORWARD[None])
        if terminated[0]:
            break
    assert (reward[0], terminated[0], truncated[0], info["success"][0]) == (1.0, True, False, True)

    env.reset(seed=[6])
    with bystander.taking_over(Float64MultiArray, "intervention", Float64MultiArray(data=PERSON.tolist())):
        for _ in range(59):
            *_, info = env.step(STILL[None])
            if info["intervention"][0]:
                break
    np.testing.assert_allclose(info["action"][0], PERSON, atol=1e-8)
    bystander.press("failure")
    assert ended(env) == (0.0, True)

    env.reset(seed=[7])
    twist = TwistStamped()
    twist.twist.linear.y, twist.twist.angular.z = 0.01, 0.02
    with bystander.taking_over(TwistStamped, "intervention_twist", twist):
        for _ in range(59):
            *_, info = env.step(STILL[None])
            if info["intervention"][0]:
                break
    np.testing.assert_allclose(info["action"][0, :4], (0, 0.0005, 0, 0.001), atol=1e-7)
    bystander.press("success")
    assert ended(env) == (1.0, True)

    env.reset(seed=[8])
    bystander.press("stop")
    *_, truncated, _ = env.step(FORWARD[None])
    assert truncated[0]
    until(lambda: bystander.news["holding"], "the hold")
    env.reset(seed=[9])
    assert not env.step(STILL[None])[3][0]


def test_an_arm_that_is_killed_ends_the_episode_and_is_named(env, arm):
    env.reset(seed=[1])
    env.step(STILL[None])
    os.kill(arm.process.pid, signal.SIGKILL)
    for _ in range(59):
        *_, truncated, info = env.step(STILL[None])
        if truncated[0]:
            break
    assert truncated[0]
    assert not info["success"][0]
    with pytest.raises(UserError, match="in vain for the simulated arm's re"):
        env.reset(seed=[2])


def test_an_operator_arranges_judges_and_resets(arm, domain, bystander):
    env = open_arm(domain, simulated=False, confirm=True)
    try:
        with bystander.pressing("ready"):
            observation, _ = env.reset()
        away = observation["observation.state"][0, :7] - ROBOT.home
        assert np.abs(away).max() < 0.05
        assert not env.step(STILL[None])[2][0]
        bystander.press("success")
        assert ended(env) == (1.0, True)
        bystander.press("stop")  # between episodes
        waiting = threading.Thread(target=env.reset)
        waiting.start()
        waiting.join(2.0)
        assert waiting.is_alive()  # until somebody has seen to it
        with bystander.pressing("ready"):
            waiting.join(PATIENCE)
        assert not waiting.is_alive()
        assert not env.step(STILL[None])[3][0]
    finally:
        env.close()


def test_channels_that_an_arm_has_not_are_named():
    require_readable(schema())
    with pytest.raises(UserError, match=r"'observation\.environment_state' holds what is asked for"):
        require_readable(schema(objects=("cube", "ball"), n_variants=2))


def test_settings_that_do_not_fit_are_told_before_anything_is_connected(domain):
    with pytest.raises(UserError, match="a control rate of 10 Hz is below the policy's 20 Hz"):
        open_arm(domain, settings=Settings(rate=10), simulated=False, confirm=False)
