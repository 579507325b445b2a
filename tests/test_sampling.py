"""Samplers, and how far the horizons of a mixture agree."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robolearn.sampling import agreed_steps, euler, heun, sample, shortcut


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


def test_heun_is_of_second_order():
    errors = [abs(heun(lambda x, t: x * (1 - t), 1.0, steps=n) - np.exp(0.5)) for n in (8, 16, 32)]
    assert 3.5 < errors[0] / errors[1] < 4.5
    assert 3.5 < errors[1] / errors[2] < 4.5
    assert errors[0] < 0.2 * abs(euler(lambda x, t: x * (1 - t), 1.0, steps=8) - np.exp(0.5))


def test_heun_asks_at_both_ends_of_each_step_but_the_last():
    seen = []
    heun(lambda x, t: seen.append(t) or 0.0, 0.0, steps=4)
    assert seen == [0.0, 0.25, 0.25, 0.5, 0.5, 0.75, 0.75]
    heun(lambda x, t: seen.append(t) or 0.0, 0.0, steps=1)
    assert seen[-1] == 0.0


def test_a_shortcut_is_told_how_far_it_goes():
    seen = []
    assert shortcut(lambda x, t, d: seen.append((t, d)) or 3.0, 1.0, steps=4) == pytest.approx(4.0)
    assert seen == [(0.0, 0.25), (0.25, 0.25), (0.5, 0.25), (0.75, 0.25)]


@pytest.mark.parametrize("schedule", ["squaredcos_cap_v2", "linear", "scaled_linear"])
@pytest.mark.parametrize(("prediction", "clip"), [("epsilon", 1.0), ("epsilon", None), ("sample", 0.7)])
@pytest.mark.parametrize(("steps", "total"), [(10, 100), (7, 50), (1, 100), (20, 20)])
def test_ddim_takes_diffusers_steps(schedule, prediction, clip, steps, total):
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

    reference = DDIMScheduler(
        num_train_timesteps=total,
        beta_schedule=schedule,
        prediction_type=prediction,
        clip_sample=clip is not None,
        clip_sample_range=clip or 1.0,
    )
    reference.set_timesteps(steps)
    noise = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    expected = torch.from_numpy(noise)
    for k in reference.timesteps:
        expected = reference.step(torch.sin(expected) + k / total, k, expected).prev_sample
    grid = reference.timesteps.tolist()
    description = {
        "name": "ddim",
        "times": [k / total for k in grid],
        "alphas": [*reference.alphas_cumprod[grid].tolist(), 1.0],
        "prediction": prediction,
        "clip": clip,
    }
    ours = sample(lambda x, t: np.sin(x) + np.float32(t), noise, description)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, expected.numpy(), rtol=1e-4, atol=1e-4)
    theirs = sample(lambda x, t: torch.sin(x) + t, torch.from_numpy(noise), description)
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-4, atol=1e-5)


def test_a_description_names_the_sampler_and_its_settings():
    noise = np.ones(2)
    for name, sampler in (("euler", euler), ("heun", heun)):
        ours = sample(lambda x, t: x * t, noise, {"name": name, "steps": 3})
        np.testing.assert_array_equal(ours, sampler(lambda x, t: x * t, noise, steps=3))


def chunks_that_differ(differences):
    """Fused actions zero; horizons of 2, 4, 6 and 8 actions that lie so far off at each action."""
    chunks = np.zeros((5, 1, 8, 2))
    chunks[1:] = np.asarray(differences)[:, None]
    return chunks


AGREE = {"ratio": 1.5, "steps": 2, "voters": 2}


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        ([1, 1, 1, 1, 1, 1, 1, 1], 6),  # where one horizon alone is left
        ([1, 1, 1, 1.4, 1.6, 1, 1, 1], 4),
        ([1, 1, 9, 1, 1, 1, 1, 1], 2),
        ([1, 3, 2.9, 3.1, 1, 1, 1, 1], 3),  # the first two set the measure: 1.5 * 2
        ([9, 9, 1, 1, 1, 1, 1, 1], 6),
        ([0, 0, 0, 0, 0, 0, 0, 0], 6),
    ],
)
def test_execution_stops_where_horizons_disagree(differences, expected):
    assert agreed_steps(chunks_that_differ(differences), (2, 4, 6, 8), **AGREE).tolist() == [expected]


def test_only_horizons_that_reach_an_action_vote():
    chunks = chunks_that_differ([1] * 8)
    chunks[1, :, 2:], chunks[2, :, 4:] = 99.0, 99.0
    assert agreed_steps(chunks, (2, 4, 6, 8), **AGREE).tolist() == [6]
    assert agreed_steps(chunks, (2, 4, 6, 8), **{**AGREE, "voters": 1}).tolist() == [8]
    assert agreed_steps(chunks, (2, 4, 6, 8), **{**AGREE, "voters": 4}).tolist() == [2]


@given(st.integers(1, 8), st.integers(1, 3), st.floats(0, 3), st.integers(0, 2**32 - 1))
def test_the_agreed_prefix_lies_between_its_least_and_the_chunk(steps, voters, ratio, seed):
    chunks = np.random.default_rng(seed).normal(size=(4, 3, 2, 8, 2))
    agreed = agreed_steps(chunks, (2, 5, 8), ratio=ratio, steps=steps, voters=voters)
    assert agreed.shape == (3, 2)
    assert agreed.min() >= steps
    assert agreed.max() <= max(steps, (2, 5, 8)[-voters])
    more = agreed_steps(chunks, (2, 5, 8), ratio=ratio + 1, steps=steps, voters=voters)
    assert (more >= agreed).all()
