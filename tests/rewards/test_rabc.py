"""Weights from progress: those of LeRobot, and the chunks in which progress rises."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lerobot.rewards.sarm.rabc import RABCWeights

from robolearn.data.progress import write_progress
from robolearn.rewards.rabc import rabc_weights, rising


def bounds(lengths):
    ends = np.cumsum(lengths)
    return ends - lengths, ends


def wandering(lengths, seed):
    """Progress that mostly rises, by amounts around kappa, and sometimes falls or rests."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(0.004, 0.01, sum(lengths)) * (rng.random(sum(lengths)) < 0.7)
    return np.clip(0.4 + np.cumsum(steps), 0, 1).astype(np.float32)


@pytest.mark.parametrize("head", ["sparse", "dense"])
@pytest.mark.parametrize(("horizon", "kappa"), [(1, 0.01), (8, 0.01), (8, 0.2), (50, 0.0)])
def test_the_weights_are_those_of_lerobot(tmp_path, head, horizon, kappa):
    pytest.importorskip("pandas")
    lengths = [70, 1, 40, 9]
    starts, ends = bounds(lengths)
    progress = wandering(lengths, seed=3)
    write_progress(tmp_path / "progress.parquet", progress, starts=starts, ends=ends, source="test")
    theirs = RABCWeights(
        tmp_path / "progress.parquet", chunk_size=horizon, head_mode=head, kappa=kappa, device=torch.device("cpu")
    )
    deltas = np.array([theirs._compute_delta(t) for t in range(120)], np.float32)
    ours = rabc_weights(progress, starts, ends, horizon=horizon, kappa=kappa)
    np.testing.assert_array_equal(ours, theirs._compute_weights(deltas))
    # what its trainer gets is the same, scaled to a mean of 1 over the batch
    frames = torch.arange(5, 90, 3)
    batch, _ = theirs.compute_batch_weights({"index": frames})
    chosen = ours[frames.numpy()]
    np.testing.assert_allclose(batch, chosen * len(chosen) / (chosen.sum() + 1e-6), rtol=1e-6)
    assert len(np.unique(ours)) > 3 or kappa == 0


def test_the_three_cases_by_hand():
    progress = np.array([0.0, 0.5, 0.505, 0.4, 0.4, 0.7])
    weights = rabc_weights(progress, np.array([0, 4]), np.array([4, 6]), horizon=1)
    gain = np.array([0.5, 0.005, -0.105, 0, 0.3, 0])
    low, high = gain.mean() - 2 * gain.std(), gain.mean() + 2 * gain.std()
    soft = (gain - low) / (high - low)
    np.testing.assert_allclose(weights, [1, soft[1], 0, soft[3], 1, soft[5]], rtol=1e-5)
    assert weights.dtype == np.float32


@settings(max_examples=60, deadline=None)
@given(
    episodes=st.lists(st.lists(st.integers(0, 64), min_size=1, max_size=12), min_size=1, max_size=4),
    horizon=st.integers(1, 9),
    kappa=st.integers(0, 8),
)
def test_rising_chunks_gain_and_never_fall_back(episodes, horizon, kappa):
    progress = np.concatenate(episodes) / 64  # exact, so that no comparison is decided by rounding
    starts, ends = bounds([len(one) for one in episodes])
    mask = rising(progress, starts, ends, horizon=horizon, kappa=kappa / 64)
    expected = []
    for one in episodes:
        for t in range(len(one)):
            chunk = one[t : t + horizon + 1]
            falls = [a - b for i, a in enumerate(chunk) for b in chunk[i:]]
            expected.append(chunk[-1] - chunk[0] > kappa and max(falls) <= kappa)
    assert mask.tolist() == expected
    weights = rabc_weights(progress, starts, ends, horizon=horizon, kappa=kappa / 64)
    assert (weights[mask] == 1).all()
    assert ((weights >= 0) & (weights <= 1)).all()
    gain = progress[np.minimum(np.arange(len(progress)) + horizon, np.repeat(ends - 1, ends - starts))] - progress
    order = np.argsort(gain, kind="stable")
    assert (np.diff(weights[order]) >= 0).all()  # who gains more counts no less


def test_what_is_lost_and_regained_is_not_rising_though_it_gains():
    progress = np.array([0.2, 0.4, 0.1, 0.5, 0.6])
    every = (np.array([0]), np.array([5]))
    assert rabc_weights(progress, *every, horizon=3)[0] == 1
    assert rising(progress, *every, horizon=3).tolist() == [False, False, True, True, False]
