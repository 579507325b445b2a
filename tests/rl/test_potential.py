"""Potentials that worlds tell, and the episodes and windows that are shaped by them."""

import numpy as np
import pytest
import torch
from fake_actors_ray import FakeRay
from hypothesis import given
from hypothesis import strategies as st
from potential_toy import Climbing, Counter, Recipe, climbed, make_episode
from remote_toys import Still
from rl_toy import Scripted, Telltale, make_units

from robolearn.acting import Acting
from robolearn.errors import UserError
from robolearn.protocols import ProgressEstimator, VecEnv
from robolearn.rewards.shaping import KINDS, Shaping
from robolearn.rl.chunks import chunk_target
from robolearn.rl.experience import Experience, relabelled
from robolearn.rl.interaction import Interaction
from robolearn.rl.potential import POTENTIAL, PotentialEnv, reshaped
from robolearn.rl.remote import RemoteActors
from robolearn.rl.units import VECTOR
from robolearn.schema import Progress

GAMMA = 0.9
SEEDS = st.integers(0, 2**32 - 1)


def act(env, rounds=12, policy=None):
    interaction = Interaction(env, Acting(Telltale() if policy is None else policy), make_units(env.schema), seed=0)
    return [one for _ in range(rounds) for one in interaction.step()]


# ---------------------------------------------------------------- worlds


def test_it_satisfies_the_contracts():
    assert isinstance(PotentialEnv(Climbing()), VecEnv)
    assert isinstance(Counter(), ProgressEstimator)


def test_the_potential_of_every_frame_is_stored_the_true_last_one_too():
    finished = act(PotentialEnv(Climbing()))
    assert {one.terminated for one in finished} == {True, False}
    for one in finished:
        assert one.frames[POTENTIAL].dtype == np.float32
        np.testing.assert_allclose(one.frames[POTENTIAL], climbed(one.frames), rtol=1e-6)
        assert one.frames[POTENTIAL][-1] == 1.0


def test_each_estimator_sees_the_frames_of_its_world_once_in_their_order():
    env = Scripted()
    env.instructions = ["count", "count on"]
    counters = [Counter(), Counter()]
    finished = act(PotentialEnv(env, counters))
    for one in finished:
        np.testing.assert_allclose(one.frames[POTENTIAL], np.arange(1, len(one.reward) + 2) / 10, rtol=1e-6)
    for world, counter in enumerate(counters):
        frames = [step for episode in range(4) for step in range(int(env.lengths[world]) + 1)]
        assert [one[2] for one in counter.shown] == frames[: len(counter.shown)]
        assert {(one[0], one[3]) for one in counter.shown} == {(world, env.instructions[world])}


def test_worlds_that_go_on_keep_their_potential_when_others_begin():
    env = PotentialEnv(Scripted(), [Counter(), Counter()])
    env.reset()
    env.step(np.zeros((2, 1), np.float32))
    _, info = env.reset(options={"reset_mask": np.array([True, False])})
    np.testing.assert_allclose(info[POTENTIAL], [0.1, 0.2], rtol=1e-6)
    _, info = env.reset()
    np.testing.assert_allclose(info[POTENTIAL], [0.1, 0.1], rtol=1e-6)


def test_nothing_else_changes_for_who_acts_and_what_is_stored():
    plain, told = act(Climbing()), act(PotentialEnv(Climbing(), [Counter(), Counter()]))
    for one, other in zip(plain, told, strict=True):
        assert other.frames.keys() == {*one.frames, POTENTIAL}
        assert (one.terminated, one.success) == (other.terminated, other.success)
        np.testing.assert_array_equal(one.reward, other.reward)
        np.testing.assert_array_equal(one.action, other.action)
        for key, values in one.frames.items():
            np.testing.assert_array_equal(values, other.frames[key])


@pytest.mark.parametrize("value", [float("nan"), 1.5, -0.1])
def test_an_estimate_that_is_none_is_refused(value):
    class Confused(Counter):
        def update(self, observation, instruction):
            return Progress(0, value, 0.5)

    with pytest.raises(UserError, match=r"which is not in \[0, 1\]"):
        PotentialEnv(Scripted(), [Confused(), Confused()]).reset()


def test_remote_actors_tell_the_potential():
    actors = RemoteActors(FakeRay(), Recipe(), Still(Telltale()), actors=1, cpus=1, seed=(0, 0))
    finished = [one for _ in range(4) for one in actors.step()]
    assert finished
    for one in finished:
        np.testing.assert_allclose(one.frames[POTENTIAL], climbed(one.frames), rtol=1e-6)


# ---------------------------------------------------------------- episodes and windows


@pytest.mark.parametrize(("terminated", "last"), [(True, -0.5), (False, -0.5 + 0.9 * 0.8)])
def test_an_episode_is_shaped_as_it_ended(terminated, last):
    one = make_episode([0.1, 0.5, 0.8], terminated=terminated)
    shaped = reshaped(one, Shaping(), gamma=GAMMA)
    assert shaped.reward.dtype == np.float32
    np.testing.assert_allclose(shaped.reward - one.reward, [0.9 * 0.5 - 0.1, last], atol=1e-6)
    assert shaped.frames is one.frames


def both(*, steps, gamma, scale, seed, size=256):
    """The same windows of the same episodes, as they are and shaped."""
    rng = np.random.default_rng(seed)
    own = [make_episode(rng.random(4 + k), terminated=k % 2 == 0, seed=k) for k in range(4)]
    drawn = []
    for shaping in (None, Shaping("potential", scale)):
        experience = Experience(capacity=100, demo_ratio=0.5, gamma=gamma, seed=seed, shaping=shaping)
        for one in own[:2]:
            experience.add(one)
        experience.show(own[2:])
        drawn.append(experience.batch(size, steps=steps))
    return drawn


@given(SEEDS, st.integers(1, 6), st.sampled_from([0.5, 0.97]), st.sampled_from([0.5, 3.0]))
def test_the_return_of_a_window_changes_by_the_potentials_at_its_ends(seed, steps, gamma, scale):
    plain, shaped = both(steps=steps, gamma=gamma, scale=scale, seed=seed)
    before, after = scale * shaped.frames[POTENTIAL], scale * shaped.after[POTENTIAL]
    # of a window that is cut by the end of a task nothing follows, by the end of time its last frame
    assert (plain.discount == 0).any()
    assert ((plain.discount > 0) & ~plain.inside[:, -1]).any() or steps == 1
    torch.testing.assert_close(shaped.reward, plain.reward + plain.discount * after - before, atol=1e-5, rtol=1e-5)
    assert torch.equal(plain.discount, shaped.discount)
    assert torch.equal(plain.action, shaped.action)
    torch.testing.assert_close(shaped.offset, before)
    torch.testing.assert_close(shaped.offset_after, after)


@given(SEEDS, st.integers(1, 4), st.booleans())
def test_targets_of_chunks_change_by_the_potential_whatever_is_imagined(seed, steps, step_cost):
    plain, shaped = both(steps=steps, gamma=GAMMA, scale=2.0, seed=seed)
    wild = 3 * torch.randn(len(plain.reward), generator=torch.Generator().manual_seed(0))
    expected = chunk_target(plain, wild, step_cost=step_cost) - shaped.offset
    found = chunk_target(shaped, wild - shaped.offset_after, step_cost=step_cost)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_without_shaping_a_potential_makes_no_difference():
    experience = Experience(capacity=100, demo_ratio=0.0, gamma=GAMMA, seed=0)
    one = make_episode([0.1, 0.5, 0.8], terminated=True)
    experience.add(one)
    batch = experience.batch(50, steps=1)
    assert set(batch.reward.tolist()) == set(one.reward.tolist())
    assert (batch.offset, batch.offset_after, batch.width) == (0.0, 0.0, 1.0)
    assert batch.bounded(torch.tensor([-3.0, 0.25, 3.0])).tolist() == [0.0, 0.25, 1.0]


@pytest.mark.parametrize("kind", KINDS)
def test_the_discount_is_that_of_the_experience(kind):
    shaping = Shaping(kind, 0.5)
    experience = Experience(capacity=100, demo_ratio=0.0, gamma=0.75, seed=0, shaping=shaping)
    one = make_episode([0.0, 1.0, 0.5], terminated=False)
    experience.add(one)
    batch = experience.batch(50, steps=1)
    first = batch.frames[VECTOR][:, 0] == 0
    extra = {"potential": 0.5 * 0.75, "gain": 0.5, "raw": 0.5}[kind]
    assert batch.reward[first].tolist() == pytest.approx([float(one.reward[0]) + extra] * int(first.sum()), abs=1e-6)
    assert batch.width == shaping.width(0.75)


# ---------------------------------------------------------------- demonstrations


@pytest.mark.parametrize("success", [True, False])
def test_demonstrations_keep_the_potential_of_their_frames(success):
    steps = 5
    state = np.stack((np.zeros(steps), np.zeros(steps), np.arange(steps)), 1).astype(np.float32)
    known = np.linspace(0.1, 0.9, steps, dtype=np.float32)
    episode = {"observation.state": state, "action": np.zeros((steps, 1), np.float32), POTENTIAL: known}
    (one,) = relabelled([episode], Telltale(), make_units(Scripted.schema), seed=0, successes=[success])
    np.testing.assert_array_equal(one.frames[POTENTIAL][:-1], known)
    assert one.frames[POTENTIAL][-1] == pytest.approx(1.0 if success else 0.9)
    shaped = reshaped(one, Shaping(), gamma=GAMMA)
    assert shaped.reward[-1] == pytest.approx(1 - 0.9 if success else 0.9 * 0.9 - 0.9)
