"""Normalisation and its inverse."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robolearn.errors import UserError
from robolearn.normalize import LIMIT, Affine, Normalizer
from robolearn.schema import Feature, Schema


def vector(n, role, **bounds):
    return Feature("float32", (n,), tuple(f"x{i}" for i in range(n)), ("m",) * n, role, **bounds)


SCHEMA = Schema(
    {
        "observation.state": vector(3, "observation"),
        "privileged.force": vector(1, "privileged"),
        "action": vector(2, "action", low=(-0.02, 0.0), high=(0.02, 0.08)),
    },
    fps=20,
)
STATISTICS = {"observation.state": {"mean": [1.0, -2.0, 5.0], "std": [0.5, 2.0, 0.0]}}
NORMALIZER = Normalizer(SCHEMA, STATISTICS)


def test_observations_get_zero_mean_and_unit_deviation():
    rng = np.random.default_rng(0)
    data = rng.normal((1.0, -2.0, 5.0), (0.5, 2.0, 1.0), (4000, 3)).astype(np.float32)
    statistics = {"observation.state": {"mean": data.mean(0), "std": data.std(0)}}
    values = Normalizer(SCHEMA, statistics)["observation.state"](data)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(values.std(0), 1, atol=1e-4)


def test_a_component_that_never_moves_does_not_explode():
    values = NORMALIZER["observation.state"](np.array([1.0, -2.0, 5.1]))
    np.testing.assert_allclose(values, (0, 0, 0.1), atol=1e-6)


def test_actions_go_by_their_bounds_not_by_the_data():
    action = NORMALIZER["action"]
    corners = np.array([[-0.02, 0.0], [0.02, 0.08], [0.0, 0.04]])
    np.testing.assert_allclose(action(corners), [[-1, -1], [1, 1], [0, 0]], atol=1e-6)
    np.testing.assert_allclose(action.inverse(np.array([-1.0, 1.0])), (-0.02, 0.08), rtol=1e-6)


@given(st.lists(st.floats(-1, 1, width=32), min_size=2, max_size=2).map(np.array))
def test_the_inverse_undoes(values):
    action = NORMALIZER["action"]
    np.testing.assert_allclose(action(action.inverse(values)), values, rtol=0, atol=1e-5)


def test_what_hardly_moves_in_the_data_is_cut_when_it_moves_elsewhere():
    statistics = {"observation.state": {"mean": [0.0] * 3, "std": [1.0, 1e-4, 1.0]}}
    values = Normalizer(SCHEMA, statistics)["observation.state"](np.array([3.0, 0.3, -1e6]))
    assert values.tolist() == [3.0, LIMIT, -LIMIT]


def test_a_limit_cuts_the_network_s_side_only():
    affine = Affine(np.zeros(1, np.float32), np.ones(1, np.float32), limit=5.0)
    assert affine(np.array([-9.0, 3.0, 9.0])[:, None]).ravel().tolist() == [-5, 3, 5]
    assert affine.inverse(np.array([9.0])).tolist() == [9.0]


def test_observation_drops_what_a_policy_may_not_read():
    frame = {"observation.state": np.ones((4, 2, 3)), "privileged.force": np.ones((4, 2, 1)), "action": np.ones((4, 2))}
    normalised = NORMALIZER.observation(frame)
    assert list(normalised) == ["observation.state"]
    assert normalised["observation.state"].shape == (4, 2, 3)


def test_statistics_may_be_json_or_arrays():
    arrays = {key: {name: np.array(v) for name, v in s.items()} for key, s in STATISTICS.items()}
    frame = np.array([0.3, 0.4, 0.5])
    np.testing.assert_array_equal(
        Normalizer(SCHEMA, arrays)["observation.state"](frame), NORMALIZER["observation.state"](frame)
    )


def test_missing_statistics_or_bounds_are_named():
    with pytest.raises(UserError, match=r"the statistics lack channel 'observation\.state'"):
        Normalizer(SCHEMA, {})
    unbounded = Schema({**SCHEMA.features, "action": vector(2, "action")}, fps=20)
    with pytest.raises(UserError, match="the action channel has no bounds"):
        Normalizer(unbounded, STATISTICS)


def test_pictures_pass_as_they_are_and_need_no_statistics():
    axes = {"names": ("height", "width", "channels"), "unit": ("1",) * 3, "role": "observation"}
    features = {"observation.images.top": Feature("image", (2, 2, 3), **axes), **SCHEMA.features}
    normalizer = Normalizer(Schema(features, fps=20), STATISTICS)
    pictures = np.full((1, 2, 2, 3), 200, np.uint8)
    seen = normalizer.observation({"observation.images.top": pictures, "observation.state": np.ones((1, 3))})
    assert list(seen) == ["observation.images.top", "observation.state"]
    assert seen["observation.images.top"] is pictures
