"""Statistics are LeRobot's, of numbers and of pictures."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from written_sets import film

from robolearn.data.statistics import (
    QUANTILES,
    aggregate_statistics,
    channel_statistics,
    compute_statistics,
    episode_statistics,
    picture_statistics,
)


def test_statistics_are_lerobots():
    from lerobot.datasets import compute_stats

    rng = np.random.default_rng(0)
    parts = [rng.normal(3.0, 2.0, (n, 3)).astype(np.float32) for n in (50, 200, 7)]
    ours = [compute_statistics({"x": part}) for part in parts]
    theirs = [{"x": compute_stats.get_feature_stats(part, axis=0, keepdims=False)} for part in parts]
    pairs = zip([*ours, aggregate_statistics(ours)], [*theirs, compute_stats.aggregate_stats(theirs)], strict=True)
    for mine, lerobots in pairs:
        assert mine["x"].keys() == lerobots["x"].keys()
        for name, value in lerobots["x"].items():
            # their quantiles come from a histogram of 5000 bins
            np.testing.assert_allclose(mine["x"][name], value, atol=5e-3, err_msg=name)
            assert np.shape(mine["x"][name]) == np.shape(value)
    exact = compute_statistics({"x": np.concatenate(parts)})["x"]
    for name in ("mean", "std", "min", "max", "count"):
        np.testing.assert_allclose(aggregate_statistics(ours)["x"][name], exact[name])


@given(arrays(np.float32, st.tuples(st.integers(1, 130), st.integers(1, 3)), elements=st.floats(-9, 9, width=32)))
def test_quantiles_are_those_of_numpys_inverted_distribution(values):
    found = channel_statistics(values)
    wanted = np.quantile(values.astype(np.float64), list(QUANTILES.values()), axis=0, method="inverted_cdf")
    np.testing.assert_array_equal([found[name] for name in QUANTILES], wanted)


def test_an_episode_in_one_pass_is_each_of_its_channels():
    rng = np.random.default_rng(1)
    channels = {
        "observation.state": rng.normal(size=(9, 4)).astype(np.float32),
        "observation.images.top": film((9, 12, 10, 3), rng),
        "observation.depth.top": rng.uniform(size=(9, 3, 4, 1)).astype(np.float32),
        "index": np.arange(9)[:, None],
    }
    found = episode_statistics(channels, pictures=["observation.images.top"])
    assert list(found) == list(channels)
    wanted = compute_statistics({k: v for k, v in channels.items() if k != "observation.images.top"})
    wanted["observation.images.top"] = picture_statistics(channels["observation.images.top"])
    for key, values in wanted.items():
        for name, value in values.items():
            np.testing.assert_allclose(found[key][name], value, rtol=1e-12, err_msg=f"{key} {name}")


@pytest.mark.parametrize("shape", [(1, 6, 8, 3), (40, 12, 10, 3), (140, 4, 6, 3), (2, 310, 160, 3), (2, 90, 460, 3)])
def test_pictures_are_counted_as_by_lerobot(tmp_path, shape):
    from lerobot.datasets.compute_stats import aggregate_stats, compute_episode_stats

    pictures = np.random.default_rng(2).integers(0, 256, shape, dtype=np.uint8)
    pictures[..., 1] //= 2
    paths = [str(tmp_path / f"{t:03d}.png") for t in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        Image.fromarray(picture).save(path)
    key = "observation.images.top"
    theirs = compute_episode_stats({key: paths}, {key: {"dtype": "video"}})
    ours = {key: picture_statistics(pictures)}
    both = (ours, theirs), (aggregate_statistics([ours, ours]), aggregate_stats([theirs, theirs]))
    for mine, lerobots in both:
        assert mine[key].keys() == lerobots[key].keys()
        for name, value in lerobots[key].items():
            assert np.shape(mine[key][name]) == np.shape(value)
            # their quantiles come from a histogram of 5000 bins, their sums are of float32
            np.testing.assert_allclose(mine[key][name], value, atol=2e-3, err_msg=name)


def test_arrays_of_several_axes_are_counted_as_by_lerobot():
    from lerobot.datasets.compute_stats import get_feature_stats

    depth = np.random.default_rng(3).uniform(0, 2, (20, 6, 8, 1)).astype(np.float32)
    theirs, ours = get_feature_stats(depth, axis=0, keepdims=False), channel_statistics(depth)
    for name, value in theirs.items():
        np.testing.assert_allclose(ours[name], value, atol=1e-3, err_msg=name)
        assert np.shape(ours[name]) == np.shape(value)
