"""Guidance of real-time chunking, from the paper's equations."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robolearn.inpainting import Inpainting, guidance_weight, sample_guided, soft_mask
from robolearn.sampling import sample

EULER = {"name": "euler", "steps": 10}
NOISE = np.random.default_rng(0).standard_normal((3, 8, 2)).astype(np.float32)
TARGET = np.random.default_rng(1).uniform(-1, 1, NOISE.shape).astype(np.float32)


@given(st.integers(1, 32), st.data())
def test_the_mask_is_equation_5(horizon, data):
    overlap = data.draw(st.integers(0, horizon))
    frozen = data.draw(st.integers(0, overlap))
    mask = soft_mask(frozen=frozen, overlap=overlap, horizon=horizon)
    for i, weight in enumerate(mask):
        if i < frozen:
            assert weight == 1
        elif i >= overlap:
            assert weight == 0
        else:
            c = (overlap - i) / (overlap - frozen + 1)
            assert weight == pytest.approx(c * (math.e**c - 1) / (math.e - 1), rel=1e-5)
    assert (np.diff(mask) <= 0).all()


@given(st.floats(0.01, 0.99))
def test_the_weight_is_that_of_equation_2(time):
    squared = (1 - time) ** 2 / (time**2 + (1 - time) ** 2)
    assert guidance_weight(time, largest=1e9) == pytest.approx((1 - time) / (time * squared))
    assert guidance_weight(time, largest=1.5) == 1.5  # 2 is its least value


def test_the_weight_at_both_ends_is_the_largest():
    assert guidance_weight(0.0, largest=5.0) == guidance_weight(1.0, largest=5.0) == 5.0


def towards(mask, largest=5.0):
    return Inpainting(TARGET, np.asarray(mask, np.float32), largest)


def straight(x, time, *step):
    """The flow to a normal distribution of data: x_t = (1 - t) x_0 + t x_1 of independent ends."""
    return x * (2 * time - 1) / ((1 - time) ** 2 + time**2)


def test_no_mask_is_no_guidance():
    for description in (EULER, {"name": "heun", "steps": 5}, {"name": "shortcut", "steps": 2}):
        plain = sample(straight, NOISE, description)
        np.testing.assert_array_equal(sample_guided(straight, NOISE, description, towards(np.zeros(8))), plain)


def test_the_masked_part_is_drawn_and_the_rest_is_left_alone():
    mask = np.r_[np.ones(4), np.zeros(4)]
    plain, drawn = sample(straight, NOISE, EULER), sample_guided(straight, NOISE, EULER, towards(mask))
    assert np.abs(drawn - TARGET)[:, :4].max() < 0.2 * np.abs(plain - TARGET)[:, :4].max()
    np.testing.assert_array_equal(drawn[:, 4:], plain[:, 4:])  # each action has a flow of its own here


def test_a_pull_is_asked_in_place_of_the_model():
    mask, scale = np.linspace(1, 0, 8), 0.7
    guide = towards(mask)

    def pull(x, time):
        clean = x + (1 - time) * straight(x, time)
        jacobian = 1 + (1 - time) * (2 * time - 1) / ((1 - time) ** 2 + time**2)
        return straight(x, time), scale * jacobian * guide.error(clean)

    def by_hand():
        x = NOISE
        for k in range(10):
            velocity, correction = pull(x, k / 10)
            x = x + (velocity + guidance_weight(k / 10, largest=5.0) * correction) / 10
        return x

    np.testing.assert_allclose(sample_guided(straight, NOISE, EULER, guide, pull), by_hand(), atol=1e-6)


def test_the_weight_never_overshoots_in_few_steps():
    # with one step the guidance adds to the chunk what is missing, not five times that
    drawn = sample_guided(lambda x, time: -x, NOISE, {"name": "euler", "steps": 1}, towards(np.ones(8)))
    np.testing.assert_allclose(drawn, TARGET, atol=1e-6)


@pytest.mark.parametrize("prediction", ["epsilon", "sample"])
@pytest.mark.parametrize("name", ["ddim", "ddpm"])
def test_denoisers_are_drawn_too(name, prediction):
    alphas = [0.02, 0.1, 0.3, 0.6, 0.9, 1.0]
    times = [0.9, 0.7, 0.5, 0.3, 0.1]
    description = {"name": name, "times": times, "alphas": alphas, "prediction": prediction, "clip": 3.0}
    of_time = dict(zip(times, alphas, strict=False))

    def model(x, time):  # the best guess where data are as likely as noise
        alpha = of_time[time]
        return math.sqrt(1 - alpha) * x if prediction == "epsilon" else math.sqrt(alpha) * x

    noise = NOISE if name == "ddim" else np.stack([NOISE] * 5, axis=1)
    mask = np.r_[np.ones(4), np.zeros(4)]
    plain, drawn = sample(model, noise, description), sample_guided(model, noise, description, towards(mask))
    assert np.abs(drawn - TARGET)[:, :4].mean() < 0.3 * np.abs(plain - TARGET)[:, :4].mean()
    np.testing.assert_allclose(drawn[:, 4:], plain[:, 4:], atol=1e-5)
