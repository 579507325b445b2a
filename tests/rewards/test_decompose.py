import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robolearn.errors import UserError
from robolearn.rewards.alignment import FASTEST, align
from robolearn.rewards.decompose import decompose, reached, subgoals

CORNERS = ((0.0, 0.0), (1.0, 0.2), (0.1, 1.0), (1.0, 1.2))  # every turn is sharp
FEW = settings(max_examples=40, deadline=None)


def walk(lengths, corners=CORNERS):
    """Go from corner to corner in so many frames each; return embeddings [T, 2] and the frames of the corners."""
    parts = [np.linspace(a, b, n, endpoint=False) for a, b, n in zip(corners[:-1], corners[1:], lengths, strict=True)]
    return np.concatenate((*parts, [corners[-1]])), np.cumsum(lengths)


def random_walk(seed, length, dim=3):
    return np.cumsum(np.random.default_rng(seed).normal(size=(length, dim)), axis=0)


@FEW
@given(st.lists(st.integers(8, 30), min_size=3, max_size=3))
def test_turns_are_subgoals(lengths):
    embeddings, corners = walk(lengths)
    np.testing.assert_array_equal(subgoals(embeddings, min_gap=3, smoothing=0), corners)
    smooth = subgoals(embeddings, min_gap=3, smoothing=1.0)
    assert len(smooth) == 3
    assert np.abs(smooth - corners).max() <= 1


@FEW
@given(st.integers(0, 10_000), st.integers(1, 80), st.integers(0, 10), st.sampled_from([0.0, 0.5, 2.0]))
def test_subgoals_rise_to_the_last_frame_with_gaps(seed, length, min_gap, smoothing):
    found = subgoals(random_walk(seed, length), min_gap=min_gap, smoothing=smoothing)
    assert found[-1] == length - 1
    if len(found) > 1:
        assert np.diff(found, prepend=0).min() > min_gap
    stage = reached(found, length)
    assert (np.diff(stage) >= 0).all()
    assert stage[-1] == len(found)
    assert (np.flatnonzero(np.diff(stage)) + 1).tolist() == [frame for frame in found if frame > 0]


@FEW
@given(st.integers(0, 10_000), st.floats(0.01, 100), st.sampled_from([0.0, 1.0]))
def test_only_relative_distances_matter(seed, scale, smoothing):
    embeddings = random_walk(seed, 60)
    turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    moved = scale * embeddings @ turn + 7.0
    expected = subgoals(embeddings, min_gap=2, smoothing=smoothing)
    np.testing.assert_array_equal(subgoals(moved, min_gap=2, smoothing=smoothing), expected)


def test_a_pause_belongs_to_the_stage_before_it():
    embeddings, corners = walk([10, 10, 10])
    paused = np.insert(embeddings, [corners[0]] * 7, embeddings[corners[0]], axis=0)
    np.testing.assert_array_equal(subgoals(paused, min_gap=3, smoothing=0), corners + 7)


def test_no_turn_means_one_stage():
    assert subgoals(np.linspace(0, 1, 30)[:, None], min_gap=3, smoothing=1.0).tolist() == [29]
    assert subgoals(np.zeros((30, 2)), min_gap=3, smoothing=1.0).tolist() == [29]
    assert subgoals(np.zeros((1, 2)), min_gap=3, smoothing=1.0).tolist() == [0]


@FEW
@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 40), st.booleans())
def test_an_alignment_goes_forwards_in_small_steps(seed, length, other, complete):
    one, two = random_walk(seed, length), random_walk(seed + 1, other)
    ((way, cost),) = align(one, [two], complete=complete)
    assert len(way) == length
    assert way[0] == 0
    assert set(np.diff(way)) <= set(range(FASTEST + 1))
    assert cost == pytest.approx(np.linalg.norm(one - two[way], axis=1).mean())
    if complete:
        assert way[-1] == min(other - 1, FASTEST * (length - 1))


@FEW
@given(st.integers(0, 10_000), st.lists(st.integers(1, 30), min_size=1, max_size=4), st.booleans())
def test_others_do_not_matter_to_an_alignment(seed, lengths, complete):
    episode = random_walk(seed, 20)
    others = [random_walk(seed + i, length) for i, length in enumerate(lengths, start=1)]
    for other, (way, cost) in zip(others, align(episode, others, complete=complete), strict=True):
        ((alone, price),) = align(episode, [other], complete=complete)
        np.testing.assert_array_equal(way, alone)
        assert cost == pytest.approx(price)


@FEW
@given(st.integers(0, 10_000), st.lists(st.integers(1, 4), min_size=20, max_size=20), st.integers(1, 20))
def test_an_alignment_finds_a_slower_and_a_cut_copy(seed, repeats, kept):
    other = random_walk(seed, 20)
    truth = np.repeat(np.arange(20), repeats)
    np.testing.assert_array_equal(align(other[truth], [other], complete=True)[0][0], truth)
    np.testing.assert_array_equal(align(other[:kept], [other], complete=False)[0][0], np.arange(kept))


@FEW
@given(st.integers(0, 10_000), st.booleans())
def test_no_alignment_is_cheaper(seed, complete):
    """Against all ways, by brute force."""
    rng = np.random.default_rng(seed)
    one, two = rng.normal(size=(5, 2)), rng.normal(size=(4, 2))
    ways = [np.cumsum((0, *steps)) for steps in np.ndindex(*(FASTEST + 1,) * 4)]
    ways = [way for way in ways if way[-1] < 4 and (way[-1] == 3 or not complete)]
    best = min(np.linalg.norm(one - two[way], axis=1).mean() for way in ways)
    assert align(one, [two], complete=complete)[0][1] == pytest.approx(best)


def test_an_episode_too_short_to_follow_gets_as_far_as_it_can():
    ((way, _),) = align(np.zeros((3, 1)), [np.zeros((9, 1))], complete=True)
    assert way.tolist() == [0, 2, 4]


def shaken(embeddings, seed):
    rng = np.random.default_rng(seed)
    return embeddings + rng.normal(scale=0.03, size=2) + rng.normal(scale=0.002, size=embeddings.shape)


def test_episodes_get_the_same_stages():
    """Of varied speed; one success with a turn of its own, one without its last; failures that end on the way."""
    rng = np.random.default_rng(0)
    lengths = [rng.integers(12, 25, 3) for _ in range(12)]
    walks = [walk(n) for n in lengths]
    detour, _ = walk([10, 8, 8, 15, 15], ((0, 0), (0.5, 0.1), (0.25, 0.05), *CORNERS[1:]))
    straight, _ = walk([15, 15, 15], (*CORNERS[:2], (0.55, 0.6), (1.0, 1.2)))
    failures = [walk([15, 15, 15])[0][:cut] for cut in (11, 22, 26, 38)]
    embeddings = [one for one, _ in walks] + [detour, straight, *failures]
    embeddings = [shaken(one, i) for i, one in enumerate(embeddings)]
    success = [True] * 14 + [False] * 4
    names, stages = decompose(embeddings, success, min_gap=4, smoothing=1.0)
    assert names == ("stage_1", "stage_2", "stage_3")
    assert [len(stage) for stage in stages] == [len(one) for one in embeddings]
    for (_, corners), stage in zip(walks, stages, strict=False):
        found = np.searchsorted(stage, [1, 2, 3])
        assert np.abs(found[:2] - corners[:2]).max() <= 2
        assert found[2] >= corners[2] - 2
    assert np.abs(np.searchsorted(stages[12], [1, 2]) - (26, 41)).max() <= 3
    assert np.abs(np.searchsorted(stages[13], 1) - 15) <= 3
    assert [stage[-1] for stage in stages[:14]] == [3] * 14
    assert [stage[-1] for stage in stages[14:]] == [0, 1, 1, 2]
    assert all((np.diff(stage) >= 0).all() for stage in stages)


def test_a_failure_that_looks_like_a_success_is_not_done():
    whole = walk([15, 15, 15])[0]
    _, (done, not_done) = decompose([whole, whole], [True, False], min_gap=4, smoothing=1.0)
    assert done[-1] == 3
    assert not_done[-1] == 2
    np.testing.assert_array_equal(done[:-1], not_done[:-1])


def test_every_episode_is_told_of():
    whole = walk([15, 15, 15])[0]
    told = []
    decompose([whole] * 5, [True, False, True, True, False], min_gap=4, smoothing=1.0, advance=told.append)
    assert told == [1] * 5


def test_without_a_success_there_is_nothing_to_learn_from():
    with pytest.raises(UserError, match="no episode is one"):
        decompose([walk([9, 9, 9])[0]], [False], min_gap=3, smoothing=1.0)
