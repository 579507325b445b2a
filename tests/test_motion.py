"""The motion limiter: what it promises for any target, and how it gets there."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robolearn.motion import MotionLimiter
from robolearn.sim.robots.panda import PANDA

DT = 0.005
STEPS = 10
LIMITER = MotionLimiter(PANDA, DT)
LOWER, UPPER = np.array(PANDA.lower), np.array(PANDA.upper)
SPEED, ACCELERATION = np.array(PANDA.max_velocity), np.array(PANDA.max_acceleration)
HOME = np.array((*PANDA.home, 0.04))
REST = np.zeros(8)

shares = st.lists(st.floats(0, 1), min_size=8, max_size=8).map(np.array)
goals = st.lists(shares, min_size=1, max_size=6)


def between(share):
    """Command [8] at these shares of the position ranges."""
    joints = np.clip(LOWER + share[:7] * (UPPER - LOWER), LOWER, UPPER)  # rounding must not lead out of them
    return np.concatenate((joints, share[7:] * PANDA.gripper_width))


def follow(start, targets, *, steps=STEPS):
    """Positions [1 + len(targets) * steps, 8] of following targets one after the other from rest."""
    path, velocity = [start[None]], REST
    for target in targets:
        positions, velocity = LIMITER.follow(path[-1][-1], velocity, target, steps)
        path.append(positions)
    return np.concatenate(path)


def kinematics(path):
    """Velocities and accelerations of a path that begins at rest, by differences as a controller would see them."""
    velocity = np.concatenate((np.zeros((1, 8)), np.diff(path, axis=0) / DT))
    return velocity, np.diff(velocity, axis=0) / DT


@given(start=shares, targets=goals)
def test_no_target_leads_beyond_position_or_velocity_limits(start, targets):
    # targets far beyond the limits too
    path = follow(between(start), [2 * between(t) for t in targets])
    velocity, _ = kinematics(path)
    assert ((path[:, :7] >= LOWER) & (path[:, :7] <= UPPER)).all()
    assert ((path[:, 7] >= 0) & (path[:, 7] <= PANDA.gripper_width)).all()
    assert (np.abs(velocity[:, :7]) <= SPEED + 1e-9).all()
    assert (np.abs(velocity[:, 7]) <= PANDA.gripper_speed + 1e-9).all()


@given(start=shares, targets=goals)
def test_acceleration_limits_hold_exactly_between_the_position_limits(start, targets):
    path = follow(between(start), [2 * between(t) for t in targets])
    _, acceleration = kinematics(path)
    # a joint that runs into its position limit is stopped there at once: position comes before acceleration
    at_limit = (path[1:, :7] <= LOWER) | (path[1:, :7] >= UPPER)
    assert (np.abs(acceleration[:, :7]) <= ACCELERATION + 1e-6)[~at_limit].all()


@given(start=shares, targets=goals)
def test_targets_within_the_limits_are_met_without_a_hard_stop(start, targets):
    inner = [0.1 + 0.8 * t for t in (start, *targets)]
    path = follow(between(inner[0]), [between(t) for t in inner[1:]], steps=200)
    _, acceleration = kinematics(path)
    assert (np.abs(acceleration[:, :7]) <= ACCELERATION + 1e-6).all()


@given(start=shares, goal=shares)
def test_a_constant_target_is_reached_and_kept(start, goal):
    path = follow(between(start), [between(goal)] * 5, steps=200)
    np.testing.assert_allclose(path[-1], between(goal), rtol=0, atol=1e-4)
    np.testing.assert_allclose(path[-100:], path[-1] + np.zeros((100, 1)), rtol=0, atol=1e-3)


@given(start=shares, goal=shares)
def test_from_rest_the_way_is_straight(start, goal):
    # away from the limits, where what overshoots would be cut off joint by joint
    a, b = (between(0.1 + 0.8 * share) for share in (start, goal))
    path = follow(a, [b] * 2, steps=100)
    way = (b - a)[:7]
    length = np.linalg.norm(way)
    if length < 1e-3:
        return
    moved = path[:, :7] - a[:7]
    aside = moved - np.outer(moved @ way / length**2, way)
    np.testing.assert_allclose(aside, 0, rtol=0, atol=1e-9)


def test_a_steady_motion_is_followed_at_its_speed():
    rate = 0.1 * SPEED  # rad/s
    goals = [HOME + np.concatenate((rate, [0])) * DT * STEPS * (k + 1) for k in range(12)]
    path = follow(HOME, goals)
    np.testing.assert_allclose(path[-1], goals[-1], rtol=0, atol=1e-3)
    velocity, _ = kinematics(path)
    np.testing.assert_allclose(velocity[-STEPS:, :7], rate + np.zeros((STEPS, 1)), rtol=0, atol=0.02)


def test_the_gripper_goes_at_its_full_speed_to_its_set_point():
    goal = HOME.copy()
    goal[-1] = 0.0
    width = follow(HOME, [goal] * 10)[:, -1]
    steps = round(HOME[-1] / (PANDA.gripper_speed * DT))
    np.testing.assert_allclose(np.diff(width[: steps + 1]), -PANDA.gripper_speed * DT)
    np.testing.assert_array_equal(width[steps + 1 :], 0.0)


def test_worlds_move_independently():
    rng = np.random.default_rng(0)
    starts, targets = (np.stack([between(rng.uniform(size=8)) for _ in range(5)]) for _ in range(2))
    together, velocity = LIMITER.follow(starts, np.zeros((5, 8)), targets, STEPS)
    for k in range(5):
        alone, last = LIMITER.follow(starts[k], REST, targets[k], STEPS)
        np.testing.assert_array_equal(together[k], alone)
        np.testing.assert_array_equal(velocity[k], last)


def test_its_arguments_are_left_as_they_were():
    start, velocity, goal = HOME.copy(), np.full(8, 0.1), HOME + 0.05
    kept = [array.copy() for array in (start, velocity, goal)]
    LIMITER.follow(start, velocity, goal, STEPS)
    for array, before in zip((start, velocity, goal), kept, strict=True):
        np.testing.assert_array_equal(array, before)


def test_the_last_velocity_is_that_of_the_path():
    path, velocity = LIMITER.follow(HOME, REST, HOME + 0.03, STEPS)
    np.testing.assert_allclose(velocity, (path[-1] - path[-2]) / DT, atol=1e-12)
    assert path.shape == (STEPS, 8)
    assert velocity[:7] == pytest.approx(velocity[0])  # the same way for every joint
