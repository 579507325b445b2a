"""The compiled control step: the same as the definitions that the robot runs, for any arm, state and action."""

from dataclasses import dataclass, replace
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robolearn import action_space
from robolearn.action_space import ACTION_SPACES, LEASH, make_action_space
from robolearn.motion import MotionLimiter
from robolearn.robot import Chain
from robolearn.sim.arm_kernel import control
from robolearn.sim.control import ArmControl
from robolearn.sim.robots.panda import PANDA

DT, STEPS, WORLDS = 0.05, 10, 4
RIGHT_ANGLES = ((1.0, 0.0, 0.0, 0.0), (0.5**0.5, 0.5**0.5, 0.0, 0.0), (0.5**0.5, 0.0, -(0.5**0.5), 0.0))

names = st.sampled_from(ACTION_SPACES)
seeds = st.integers(0, 2**32 - 1)


def some_arm(rng, n):
    """An arm with n joints; half of them with links at right angles, so that it is singular at zero."""
    quat = rng.normal(size=(n + 1, 4))
    quat /= np.linalg.norm(quat, axis=1, keepdims=True)
    if rng.random() < 0.5:
        quat = np.array(RIGHT_ANGLES)[rng.integers(3, size=n + 1)]
    pos = rng.uniform(-0.3, 0.3, (n + 1, 3))
    chain = Chain(pos=rows(pos[:-1]), quat=rows(quat[:-1]), tool_pos=tuple(pos[-1]), tool_quat=tuple(quat[-1]))
    lower = rng.uniform(-3, -0.1, n)
    return replace(
        PANDA,
        joint_names=tuple(f"joint{i}" for i in range(n)),
        lower=tuple(lower),
        upper=tuple(-lower[::-1]),
        max_velocity=tuple(rng.uniform(0.2, 4, n)),
        max_acceleration=tuple(rng.uniform(1, 30, n)),
        home=tuple(rng.uniform(-0.1, 0.1, n)),
        chain=chain,
    )


def rows(array):
    return tuple(map(tuple, array))


@dataclass
class Inputs:
    """Arguments of a control step of some worlds."""

    sent: np.ndarray
    velocity: np.ndarray
    measured: np.ndarray
    action: np.ndarray

    def of(self, world):
        return Inputs(*(array[world : world + 1] for array in vars(self).values()))


def some_inputs(rng, mapping, *, worlds=WORLDS):
    """Commands anywhere within the limits, at zero and at the limits; lagging measurements; actions out of bounds."""
    robot, feature = mapping.robot, mapping.feature
    low, high = np.array((*robot.lower, 0.0)), np.array((*robot.upper, robot.gripper_width))
    fastest = np.array((*robot.max_velocity, robot.gripper_speed))
    anywhere = rng.uniform(low, high, (worlds, len(low)))
    near = np.clip(rng.normal(scale=1e-6, size=anywhere.shape), low, high)
    kind = rng.random((worlds, 1))
    sent = np.where(
        kind < 0.6, anywhere, np.where(kind < 0.8, near, np.where(rng.random(anywhere.shape) < 0.5, low, high))
    )
    lag = rng.normal(scale=rng.choice((1e-3, 0.3)), size=sent.shape)
    reach = np.subtract(feature.high, feature.low) * rng.choice((0.0, 0.5, 2.0))
    action = np.add(feature.high, feature.low) / 2 + rng.uniform(-1, 1, (worlds, len(reach))) * reach
    return Inputs(sent, rng.uniform(-fastest, fastest, sent.shape), sent + lag, action)


def defined(mapping, inputs):
    """What the robot's controller would do."""
    goal = mapping.command(inputs.sent, inputs.measured, inputs.action)
    return MotionLimiter(mapping.robot, mapping.dt / STEPS).follow(inputs.sent, inputs.velocity, goal, STEPS)


def compiled(mapping, inputs, **relaxed):
    arm = ArmControl(mapping, decimation=STEPS, num_worlds=len(inputs.sent))
    return arm.path(**vars(inputs), **relaxed)


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-9)


@given(name=names, seed=seeds, n=st.integers(5, 7))
def test_any_arm_moves_as_the_definition_says(name, seed, n):
    rng = np.random.default_rng(seed)
    mapping = make_action_space(name, robot=some_arm(rng, n), dt=DT)
    inputs = some_inputs(rng, mapping)
    assert_same(compiled(mapping, inputs), defined(mapping, inputs))


@given(name=names, seed=seeds)
def test_a_real_arm_moves_as_the_definition_says(name, seed):
    mapping = make_action_space(name, robot=PANDA, dt=DT)
    inputs = some_inputs(np.random.default_rng(seed), mapping)
    assert_same(compiled(mapping, inputs), defined(mapping, inputs))


@given(seed=seeds)
def test_motion_limits_are_the_definitions_to_the_last_bit(seed):
    mapping = make_action_space("joint_delta", robot=PANDA, dt=DT)
    inputs = some_inputs(np.random.default_rng(seed), mapping)
    for found, expected in zip(compiled(mapping, inputs), defined(mapping, inputs), strict=True):
        np.testing.assert_array_equal(found, expected)


@given(name=names, seed=seeds, factor=st.floats(1, 5))
def test_speed_up_is_a_stronger_arm_on_a_longer_leash(name, seed, factor):
    mapping = make_action_space(name, robot=PANDA, dt=DT)
    inputs = some_inputs(np.random.default_rng(seed), mapping)
    stronger = replace(
        PANDA,
        max_velocity=tuple(factor * np.array(PANDA.max_velocity)),
        max_acceleration=tuple(factor * np.array(PANDA.max_acceleration)),
        gripper_speed=factor * PANDA.gripper_speed,
    )
    with patch.object(action_space, "LEASH", factor * LEASH):
        expected = defined(make_action_space(name, robot=stronger, dt=DT), inputs)
    speed_up = np.array((1.0, *(factor,) * (WORLDS - 1)))
    path, velocity = compiled(mapping, inputs, speed_up=speed_up)
    assert_same((path[1:], velocity[1:]), (expected[0][1:], expected[1][1:]))
    assert_same((path[:1], velocity[:1]), compiled(mapping, inputs.of(0)))


@given(name=names, seed=seeds, slack=st.floats(0, 0.5))
def test_joint_slack_is_an_arm_with_wider_limits(name, seed, slack):
    mapping = make_action_space(name, robot=PANDA, dt=DT)
    inputs = some_inputs(np.random.default_rng(seed), mapping)
    wider = replace(PANDA, lower=tuple(np.array(PANDA.lower) - slack), upper=tuple(np.array(PANDA.upper) + slack))
    expected = defined(make_action_space(name, robot=wider, dt=DT), inputs)
    joint_slack = np.array((0.0, *(slack,) * (WORLDS - 1)))
    path, velocity = compiled(mapping, inputs, joint_slack=joint_slack)
    assert_same((path[1:], velocity[1:]), (expected[0][1:], expected[1][1:]))
    assert_same((path[:1], velocity[:1]), compiled(mapping, inputs.of(0)))


@given(name=names, seed=seeds)
def test_a_world_does_not_depend_on_the_others(name, seed):
    mapping = make_action_space(name, robot=PANDA, dt=DT)
    rng = np.random.default_rng(seed)
    inputs = some_inputs(rng, mapping, worlds=9)
    speed_up, slack = rng.uniform(1, 3, 9), rng.uniform(0, 0.3, 9)
    together = compiled(mapping, inputs, speed_up=speed_up, joint_slack=slack)
    for world in range(9):
        here = slice(world, world + 1)
        alone = compiled(mapping, inputs.of(world), speed_up=speed_up[here], joint_slack=slack[here])
        for one, many in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one[0], many[world])


@pytest.mark.parametrize("name", ACTION_SPACES)
def test_its_arguments_are_left_as_they_were(name):
    mapping = make_action_space(name, robot=PANDA, dt=DT)
    inputs = some_inputs(np.random.default_rng(0), mapping)
    kept = [array.copy() for array in vars(inputs).values()]
    compiled(mapping, inputs)
    for array, before in zip(vars(inputs).values(), kept, strict=True):
        np.testing.assert_array_equal(array, before)


def test_strided_read_only_and_single_precision_arrays_need_no_compiling():
    mapping = make_action_space("ee_delta", robot=PANDA, dt=DT)
    inputs = some_inputs(np.random.default_rng(0), mapping)
    inputs.action = inputs.action.astype(np.float32)
    expected, _ = compiled(mapping, inputs)
    known = list(control.signatures)
    inputs.sent = np.repeat(inputs.sent, 2, axis=1)[:, ::2]
    inputs.velocity.flags.writeable = False
    found, _ = compiled(mapping, inputs)
    np.testing.assert_array_equal(found, expected)
    assert control.signatures == known


@pytest.mark.parametrize("constant", ["DAMPING", "POSTURE_GAIN", "MAX_LINEAR_STEP", "LEASH"])
def test_constants_are_those_of_the_definition(constant, monkeypatch):
    mapping = make_action_space("ee_delta", robot=PANDA, dt=DT)
    inputs = some_inputs(np.random.default_rng(1), mapping, worlds=20)
    before, _ = compiled(mapping, inputs)
    monkeypatch.setattr(action_space, constant, 0.3 * getattr(action_space, constant))
    after = compiled(mapping, inputs)
    assert np.abs(after[0] - before).max() > 1e-4
    assert_same(after, defined(mapping, inputs))


@pytest.mark.parametrize("argument", ["sent", "velocity", "measured", "action", "speed_up", "joint_slack"])
def test_an_array_of_another_shape_is_refused(argument):
    mapping = make_action_space("ee_delta", robot=PANDA, dt=DT)
    arm = ArmControl(mapping, decimation=STEPS, num_worlds=WORLDS)
    arrays = {
        **vars(some_inputs(np.random.default_rng(0), mapping)),
        "speed_up": np.ones(WORLDS),
        "joint_slack": np.zeros(WORLDS),
    }
    arrays[argument] = arrays[argument][:-1]
    with pytest.raises(ValueError, match=f"{argument} has shape"):
        arm.path(**arrays)


@pytest.mark.parametrize(("name", "value"), [("speed_up", 0.5), ("speed_up", np.nan), ("joint_slack", -0.1)])
def test_limits_are_widened_never_narrowed(name, value):
    mapping = make_action_space("ee_delta", robot=PANDA, dt=DT)
    inputs = some_inputs(np.random.default_rng(0), mapping)
    with pytest.raises(ValueError, match=f"{name} must be at least"):
        compiled(mapping, inputs, **{name: np.full(WORLDS, value)})


def test_an_action_space_without_a_loop_is_refused():
    class Other:
        robot, dt, feature = PANDA, DT, make_action_space("ee_delta", robot=PANDA, dt=DT).feature

    with pytest.raises(TypeError, match="Other"):
        ArmControl(Other(), decimation=STEPS, num_worlds=1)
