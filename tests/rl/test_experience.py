"""What is learned from: relabelled demonstrations, and batches of them and of the algorithm's own episodes."""

import numpy as np
import pytest
import torch
from rl_toy import Scripted, Telltale, make_units, told

from robolearn.data.replay import Trajectory
from robolearn.rl.experience import Experience, relabelled
from robolearn.rl.interaction import BASE, INTERVENTION
from robolearn.rl.units import VECTOR


def make_episode(number, steps=5, *, side=None):
    """An episode that shows its number; pictures of `side` pixels show the time in their middle."""
    frames = {VECTOR: np.full((steps + 1, 2), number, np.float32), BASE: np.zeros((steps + 1, 1), np.float32)}
    if side is not None:
        frames["picture"] = np.zeros((steps + 1, side, side, 3), np.uint8)
        frames["picture"][:, side // 2, side // 2] = 1 + np.arange(steps + 1)[:, None]
    action = np.full((steps, 1), number, np.float32)
    return Trajectory(frames, action, np.eye(1, steps, steps - 1, np.float32)[0], terminated=True, success=True)


def make_experience(*, own=0, shown=0, demo_ratio=0.5, side=None, seed=0):
    experience = Experience(capacity=100, demo_ratio=demo_ratio, gamma=0.9, seed=seed)
    for _ in range(own):
        experience.online.add(make_episode(1, side=side))
    if shown:
        experience.show([make_episode(2, 3, side=side)] * shown)
    return experience


# ---------------------------------------------------------------- batches


@pytest.mark.parametrize(
    ("own", "shown", "ratio", "demos"),
    [(3, 3, 0.25, 4), (3, 3, 0.5, 8), (3, 3, 0.0, 0), (3, 3, 1.0, 16), (3, 0, 0.5, 0), (0, 3, 0.5, 16)],
)
def test_batches_mix_demonstrations_and_own_episodes(own, shown, ratio, demos):
    experience = make_experience(own=own, shown=shown, demo_ratio=ratio)
    batch = experience.batch(16, steps=3)
    numbers = batch.frames[VECTOR][:, 0].tolist()
    assert sorted(numbers) == [1.0] * (16 - demos) + [2.0] * demos
    assert batch.action[:, 0, 0].tolist() == batch.after[VECTOR][:, 0].tolist() == numbers
    assert len(experience) == 5 * own + 3 * shown


def test_a_batch_is_made_of_tensors_of_windows():
    batch = make_experience(own=2, shown=2).batch(64, steps=4)
    shapes = {"action": (64, 4, 1), "inside": (64, 4), "reward": (64,), "discount": (64,)}
    assert {name: tuple(getattr(batch, name).shape) for name in shapes} == shapes
    floats = (batch.action, batch.reward, batch.discount, *batch.frames.values(), *batch.after.values())
    assert {x.dtype for x in floats} == {torch.float32}
    assert batch.inside.dtype == torch.bool
    steps = batch.inside.sum(dim=1)
    last = batch.discount == 0  # those that reach the end were rewarded there
    torch.testing.assert_close(batch.reward, torch.where(last, 0.9 ** (steps - 1), 0.0))
    assert 0 < last.sum() < 64


def test_what_would_be_done_after_the_end_is_drawn_from_others():
    experience = Experience(capacity=400, demo_ratio=0.0, gamma=0.9, seed=0)
    for number in range(60):
        experience.online.add(make_episode(number))
    batch = experience.batch(256, steps=4)
    number, inside = batch.frames[VECTOR][:, :1], batch.inside
    assert (batch.action[..., 0] == number)[inside].all()
    assert 0.1 < (~inside).float().mean() < 0.5
    # hardly any of them is the window's own
    assert (batch.action[..., 0] == number)[~inside].float().mean() < 0.1


def test_the_seed_decides_on_the_draws():
    drawn = [make_experience(own=3, shown=2, side=16, seed=seed).batch(32, steps=2) for seed in (0, 0, 1)]
    same, other = (torch.equal(drawn[0].frames["picture"], batch.frames["picture"]) for batch in drawn[1:])
    assert same
    assert not other


def test_pictures_are_shifted_the_vectors_are_not():
    batch = make_experience(own=1, side=42).batch(200, steps=1)
    pictures = batch.frames["picture"]
    assert pictures.shape == (200, 42, 42, 3)
    assert pictures.dtype == torch.uint8
    place = pictures[..., 0].flatten(1).argmax(dim=1)
    assert set((place // 42 - 21).tolist()) == set((place % 42 - 21).tolist()) == {-2, -1, 0, 1, 2}
    # nothing is lost by the way
    values = pictures.amax(dim=(1, 2, 3))
    assert set(values.tolist()) == {1, 2, 3, 4, 5}
    later = batch.after["picture"]
    assert torch.equal(later.amax(dim=(1, 2, 3)), values + 1)
    assert not torch.equal(later[..., 0].flatten(1).argmax(dim=1), place)  # another shift than before


# ---------------------------------------------------------------- demonstrations


def make_demonstration(steps=5, **more):
    state = np.stack((np.zeros(steps), np.full(steps, 2), np.arange(steps)), 1).astype(np.float32)
    return {"observation.state": state, "action": np.full((steps, 1), 0.6, np.float32), **more}


def test_demonstrations_are_relabelled_with_the_base_s_actions():
    labels = {key: np.zeros((5, 1), np.float32) for key in ("observation.stage", "privileged.progress")}
    episode = make_demonstration(**labels)
    (one,) = relabelled([episode], Telltale(), make_units(Scripted.schema), seed=0)
    assert one.frames.keys() == {VECTOR, BASE}
    np.testing.assert_array_equal(one.frames[VECTOR][:-1], episode["observation.state"])
    np.testing.assert_allclose(one.frames[BASE][:-1, 0], [told(2, t) / 2 for t in range(5)], atol=1e-6)
    np.testing.assert_allclose(one.action, 0.3)
    assert one.reward.tolist() == [0, 0, 0, 0, 1]
    assert (one.terminated, one.success) == (True, True)


def test_nothing_depends_on_the_frame_after_a_demonstration():
    (one,) = relabelled([make_demonstration()], Telltale(), make_units(Scripted.schema), seed=0)
    experience = Experience(capacity=10, demo_ratio=0.5, gamma=0.9, seed=0)
    experience.show([one])
    batch = experience.batch(200, steps=2)
    padded = batch.frames[VECTOR][:, 2] + 2 >= 5
    assert padded.any()
    assert (batch.discount[padded] == 0).all()
    assert (batch.discount[~padded] > 0).all()


class Heard(Telltale):
    """A base that keeps what it is told."""

    reads_task = True

    def __init__(self):
        self.heard = []

    def predict_chunk(self, observation, noise=None, n_samples=1):
        self.heard += observation["task"].tolist()
        return super().predict_chunk(observation, noise, n_samples)


def test_a_base_that_reads_an_instruction_is_told_that_of_the_frame():
    policy = Heard()
    episode = make_demonstration(task=np.array(["pick it up"] * 3 + ["put it down"] * 2))
    relabelled([episode], policy, make_units(Scripted.schema), seed=0)
    assert policy.heard == ["pick it up", "pick it up", "put it down"]  # it plans every second step


@pytest.mark.parametrize("marked", [False, True])
def test_an_arm_s_episodes_mix_with_demonstrations_that_do_not_say_where_a_person_acted(marked):
    def episode(person):
        frames = {VECTOR: np.zeros((3, 2), np.float32), BASE: np.zeros((3, 1), np.float32)}
        if person:
            frames[INTERVENTION] = np.ones((3, 1), np.float32)
        return Trajectory(frames, np.zeros((2, 1), np.float32), np.zeros(2, np.float32), False, False)

    experience = Experience(capacity=10, demo_ratio=0.5, gamma=0.9, seed=0)
    experience.add(episode(True))
    experience.show([episode(marked)])
    batch = experience.batch(4, steps=1)
    assert batch.frames[VECTOR].shape == (4, 2)
    assert (INTERVENTION in batch.frames) == marked
