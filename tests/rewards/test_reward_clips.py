"""Training clips."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from robolearn.language import TOKENS, Tokenizer
from robolearn.rewards.clips import Footage, Tricks, clips, edges, film
from robolearn.rewards.labels import Labels
from robolearn.rewards.phrases import other_instructions

NONE = Tricks(rewind=0, pause=0, warp=0, still=0, wrong=0)


def footage(lengths=(30, 50), *, wrong=2):
    n = sum(lengths)
    ends = np.cumsum(lengths)
    stage = np.concatenate([np.repeat((0, 1), (k - k // 2, k // 2)) for k in lengths])
    frame = np.arange(n)
    labels = Labels(stage, (frame % 7) / 7, frame / n)
    asked = ["put it down", "take it", *other_instructions(["put it down", "take it"], count=wrong, seed=0)]
    channel = np.stack((frame, stage), axis=1).astype(np.float32)
    return Footage({"observation.state": channel}, ends - lengths, ends, labels, np.array([0, 1]), Tokenizer()(asked))


def batch_of(tricks, step=0, **settings):
    data = footage()
    return data, clips(data, **{"length": 5, "gap": 2, "batch_size": 64, "seed": 3} | settings, tricks=tricks)(step)


def test_a_plain_clip_ends_at_its_frame_and_looks_back_by_the_gap():
    _, batch = batch_of(NONE)
    frames = batch["observation.state"][..., 0]
    inside = batch["valid"].all(axis=1)
    assert inside.sum() > 20
    assert (np.diff(frames[inside], axis=1) == 2).all()
    outside = ~inside
    assert outside.any()
    starts = np.where(frames[outside, -1] < 30, 0, 30)
    assert (frames[outside, 0] == starts).all()  # the episode's own first frame, never one of the episode before


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_labels_are_those_of_the_frames_shown(step):
    data, batch = batch_of(Tricks(rewind=0.5, pause=0.5, warp=0.5, wrong=0), step)
    frames = batch["observation.state"][..., 0].astype(int)
    np.testing.assert_array_equal(batch["stage"], data.labels.stage[frames])
    np.testing.assert_allclose(batch["tau"], data.labels.tau[frames].astype(np.float32))
    episode = frames >= 30
    assert (episode == episode[:, :1]).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_no_film_shows_a_frame_later_than_the_one_it_was_cut_at(seed):
    shown = film(40, length=30, tricks=Tricks(rewind=0.5, pause=0.5, warp=0.5), rng=np.random.default_rng(seed))
    assert len(shown) == 30
    assert shown.max() <= 40


def test_a_wrong_instruction_makes_no_progress():
    data, batch = batch_of(Tricks(rewind=0, pause=0, warp=0, still=0, wrong=0.5))
    wrong = np.array([(data.tokens == ids).all(axis=(1, 2)).argmax() for ids in batch[TOKENS]]) >= 2
    assert 0.3 < wrong.mean() < 0.7
    assert not batch["stage"][wrong].any()
    assert not batch["tau"][wrong].any()
    assert batch["stage"][~wrong].any()


def test_a_rewound_film_goes_back():
    rng = np.random.default_rng(0)
    shown = film(40, length=20, tricks=Tricks(rewind=1, pause=0, warp=0, still=0), rng=rng)
    turn = shown.argmax()
    assert turn < 19
    assert (np.diff(shown[turn:]) == -1).all()
    assert (np.diff(shown[: turn + 1]) == 1).all()


def test_a_batch_depends_on_seed_and_step_alone():
    tricks = Tricks()
    data = footage()

    def make(seed):
        return clips(data, length=5, gap=2, batch_size=16, seed=seed, tricks=tricks)

    first = make(1)
    first(0)
    again, other = make(1)(7), make(2)(7)
    for key, values in first(7).items():
        np.testing.assert_array_equal(values, again[key])
    assert not np.array_equal(again["observation.state"], other["observation.state"])


def test_other_instructions_ask_for_something_else():
    right = ["put the cube into the bin", "pick up the cube and drop it in the box"]
    others = other_instructions(right, count=300, seed=1)
    assert len(set(others)) == 300
    assert not any("cube" in text and ("bin" in text or "box" in text) for text in others)
    assert other_instructions(right, count=300, seed=1) == others


def test_edges_are_first_frames_and_ends_of_successes():
    data = footage((30, 50, 20))
    data = replace(data, instruction=np.array([0, 1, 0]))
    data.labels.stage[79] = 2  # the others end in the last stage
    starts, goals = edges(data, num_stages=2)
    assert starts["observation.state"][:, 0, 0].tolist() == [0, 30, 80]
    assert goals["observation.state"][:, 0, 0].tolist() == [79]
    np.testing.assert_array_equal(goals[TOKENS], data.tokens[[1]])
    assert len(edges(data, num_stages=3)[1][TOKENS]) == 0
    assert edges(data, num_stages=1, most=2)[1]["observation.state"][:, 0, 0].tolist() == [29, 99]


def test_an_eighth_of_the_clips_end_where_they_are_wanted():
    share = []
    for often in (None, np.array([17])):
        batches = [batch_of(NONE, step, batch_size=200, often=often)[1] for step in range(5)]
        share.append(np.mean([batch["observation.state"][:, -1, 0] == 17 for batch in batches]))
    assert share[0] < 0.05
    assert 0.1 < share[1] < 0.18


def test_a_still_film_shows_one_frame():
    tricks = Tricks(still=1)
    assert set(film(17, length=9, tricks=tricks, rng=np.random.default_rng(0)).tolist()) == {17}
