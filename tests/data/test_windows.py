"""Windows: history and future around every frame, in a seeded order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robolearn.data.images import Images
from robolearn.data.windows import Windows
from robolearn.errors import UserError


def numbered(lengths, **options):
    """Windows over frames that carry their own number in every channel."""
    ends = np.cumsum(lengths)
    frames = np.arange(ends[-1])
    state = frames[:, None].astype(np.float32)
    eye = Images(np.tile(frames.astype(np.uint8)[::-1, None, None, None], (1, 2, 2, 3)), frames[::-1])
    channels = {"observation.state": state, "observation.images.eye": eye, "action": state}
    return Windows(channels, starts=ends - lengths, ends=ends, **options)


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    n_obs_steps=st.integers(1, 4),
    horizon=st.integers(1, 6),
)
def test_windows_never_cross_episodes(lengths, n_obs_steps, horizon):
    ends = np.cumsum(lengths)
    starts = ends - lengths
    windows = numbered(lengths, n_obs_steps=n_obs_steps, horizon=horizon)
    batch = windows.batch(np.arange(len(windows)))
    for start, end in zip(starts, ends, strict=True):
        for t in range(start, end):
            past = [max(t - k, start) for k in reversed(range(n_obs_steps))]
            future = [t + k for k in range(horizon)]
            assert batch["observation.state"][t, :, 0].tolist() == past
            assert batch["observation.images.eye"][t, :, 0, 0, 0].tolist() == past
            assert batch["action"][t, :, 0].tolist() == [min(k, end - 1) for k in future]
            assert batch["action_is_pad"][t].tolist() == [k >= end for k in future]


def test_shuffled_batches():
    windows = numbered([6, 4], n_obs_steps=1, horizon=2)
    draw, again = windows.shuffled(5, seed=1), windows.shuffled(5, seed=1)

    def seen(batches):
        return [float(x) for batch in batches for x in batch["action"][:, 0, 0]]

    every = sorted(seen([windows.batch(np.arange(10))]))
    first, second = seen([draw(0), draw(1)]), seen([draw(2), draw(3)])
    assert sorted(first) == every
    assert sorted(second) == every
    assert first != second
    assert seen([again(3)]) == seen([draw(3)])  # a step's batch does not depend on those before
    assert seen([windows.shuffled(5, seed=2)(0)]) != seen([draw(0)])
    assert len(windows.shuffled(64, seed=0)(7)["action"]) == 10


def test_the_batch_of_a_step_depends_on_seed_and_step_alone():
    windows = numbered([7, 5], n_obs_steps=2, horizon=3)
    one, other = windows.shuffled(5, seed=3), windows.shuffled(5, seed=3)
    forth = [one(step) for step in range(9)]
    back = [other(step) for step in reversed(range(9))][::-1]
    for a, b in zip(forth, back, strict=True):
        assert a.keys() == b.keys()
        for key in a:
            np.testing.assert_array_equal(a[key], b[key])


def test_instructions_come_with_their_frames():
    index = np.array([0, 0, 2, 1, 1])
    windows = numbered([3, 2], n_obs_steps=1, horizon=1, task_index=index)
    assert windows.batch(np.array([4, 2, 0]))["task_index"].tolist() == [1, 2, 0]


@pytest.mark.parametrize("sizes", [(0, 1), (1, 0)])
def test_windows_without_length_are_refused(sizes):
    with pytest.raises(UserError, match="at least 1"):
        numbered([3], n_obs_steps=sizes[0], horizon=sizes[1])
