"""Euler integration of a velocity field."""

import numpy as np
import pytest
import torch

from robolearn.sampling import euler


def test_a_straight_flow_ends_exactly_at_its_goal_in_any_number_of_steps():
    noise, goal = np.array([[1.0, -3.0]]), np.array([[0.5, 2.0]])
    for steps in (1, 3, 10):
        np.testing.assert_allclose(euler(lambda x, t: goal - noise, noise, steps=steps), goal)
        # the same flow as a field: all lines meet in the goal
        np.testing.assert_allclose(euler(lambda x, t: (goal - x) / (1 - t), noise, steps=steps), goal)


def test_time_runs_from_zero_to_one_in_equal_steps():
    seen = []
    euler(lambda x, t: seen.append(t) or 0.0, 0.0, steps=4)
    assert seen == [0.0, 0.25, 0.5, 0.75]


def test_more_steps_come_nearer_to_the_solution():
    errors = [abs(euler(lambda x, t: x, 1.0, steps=n) - np.e) for n in (1, 10, 100)]
    assert errors[0] > 5 * errors[1] > 25 * errors[2]
    assert euler(lambda x, t: x, 1.0, steps=2) == pytest.approx(1.5**2)


def test_numpy_and_torch_agree():
    noise = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    a = euler(lambda x, t: x * t - 1, noise, steps=5)
    b = euler(lambda x, t: x * t - 1, torch.from_numpy(noise), steps=5)
    np.testing.assert_allclose(a, b.numpy(), rtol=1e-6)


def test_the_noise_is_not_overwritten():
    noise = np.ones(3)
    euler(lambda x, t: x, noise, steps=3)
    np.testing.assert_array_equal(noise, 1.0)
