"""Figures of demonstrations: smoothness against closed forms, counts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robolearn.data.dataset import EpisodeDataset
from robolearn.eval.quality import demonstration_quality, mean_squared_jerk
from robolearn.schema import Feature, Schema

FPS = 20
TIME = np.arange(40) / FPS


@given(st.lists(st.floats(-3, 3), min_size=3, max_size=3))
def test_a_parabola_has_no_jerk(coefficients):
    path = np.polyval(coefficients, TIME)[:, None]
    assert mean_squared_jerk([path], fps=FPS) == pytest.approx(0, abs=1e-15 * FPS**6)


def test_the_jerk_of_a_cubic_is_its_third_derivative():
    path = np.stack((TIME**3, -2 * TIME**3), axis=1)
    np.testing.assert_allclose(mean_squared_jerk([path, path[:9]], fps=FPS), (6**2, 12**2), rtol=1e-6)


def test_a_sine_s_jerk_is_near_its_mean():
    fine = np.arange(4000) / 1000
    path = np.sin(2 * np.pi * fine)[:, None]
    assert mean_squared_jerk([path], fps=1000) == pytest.approx((2 * np.pi) ** 6 / 2, rel=1e-3)


def test_a_jump_between_two_paths_is_no_jerk():
    up, down = TIME[:, None] ** 3, 5 - TIME[:, None] ** 3
    np.testing.assert_allclose(mean_squared_jerk([up, down], fps=FPS), 36.0, rtol=1e-6)


def test_paths_of_less_than_four_points_have_none():
    assert mean_squared_jerk([np.zeros((3, 2)), np.zeros((1, 2))], fps=FPS) is None


def make_dataset(tmp_path, states, **columns):
    names = ("j1", "j2", "gripper_width", "tool_x", "tool_y", "tool_z")
    feature = Feature("float32", (6,), names, ("rad", "rad", "m", "m", "m", "m"), "observation")
    ends = np.cumsum([len(state) for state in states])
    return EpisodeDataset(
        root=tmp_path,
        schema=Schema({"observation.state": feature}, FPS),
        stage_names=(),
        channels={"observation.state": np.concatenate(states).astype(np.float32)},
        starts=np.concatenate(([0], ends[:-1])),
        ends=ends,
        tasks=("push", "lift", "lift"),
        columns=columns,
    )


def test_the_figures_of_a_dataset(tmp_path):
    moving = np.stack((TIME**3, 0 * TIME, TIME**4, TIME**3, 2 * TIME**3, 0 * TIME), axis=1)
    states = [moving, moving[:10], moving[:2]]
    data = make_dataset(tmp_path, states, success=[True, False, True], failure=["slip", "slip", ""])
    quality = demonstration_quality(data, attempts=5)
    assert quality.joint_jerk == pytest.approx(36 / 2, rel=0.02)  # mean of the joints; the width is none of them
    assert quality.tool_jerk == pytest.approx(36 + 144, rel=0.02)  # squared length of the vector
    assert quality.mean_length == 52 / 3
    told = quality.to_dict()
    assert (told["attempts"], told["successes"], told["episodes"], told["success_rate"]) == (5, 2, 3, 0.4)
    assert told["instructions"] == {"lift": 2, "push": 1}
    assert told["failures"] == {"slip": {"successes": 1, "episodes": 2}}
    for line in ("success 2/5 = 0.40", "2  lift", "2  slip, 1 succeeded"):
        assert line in str(quality)
