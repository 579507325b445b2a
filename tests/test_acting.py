from dataclasses import replace

import numpy as np
import pytest

from robolearn.acting import ChunkActor
from robolearn.schema import ActionChunk, Feature, Schema

HORIZON, STEPS, ACTION_DIM = 6, 3, 2
SCHEMA = Schema(
    {
        "observation.state": Feature("float32", (1,), ("count",), ("1",), "observation"),
        "privileged.mass": Feature("float32", (1,), ("mass",), ("kg",), "privileged"),
        "action": Feature("float32", (2,), ("x", "y"), ("m", "m"), "action", (-9, -9), (9, 9)),
    },
    fps=20,
)


class Recorder:
    """A policy whose chunk tells what it saw: x = last frame + 0.1 k, y = first number of the noise."""

    schema = SCHEMA
    horizon, n_action_steps = HORIZON, STEPS
    noise_shape: tuple[int, ...] | None = (HORIZON, ACTION_DIM)
    reads_task = False

    def __init__(self, n_obs_steps=1):
        self.n_obs_steps = n_obs_steps
        self.seen = []

    def predict_chunk(self, observation, noise=None, n_samples=1):
        self.seen.append({key: value.copy() for key, value in observation.items()})
        last = observation["observation.state"][:, -1, 0]
        x = last[:, None] + 0.1 * np.arange(HORIZON)
        y = np.broadcast_to(0.0 if noise is None else noise[:, :1, 0], x.shape)
        return ActionChunk(np.stack((x, y), -1).astype(np.float32), 0.0, 0.05)


class Deterministic(Recorder):
    noise_shape = None


def frame(*values):
    return {"observation.state": np.array(values, np.float32)[:, None], "privileged.mass": np.ones((len(values), 1))}


def test_a_chunk_is_executed_up_to_n_action_steps_then_planned_anew():
    policy = Deterministic()
    actor = ChunkActor(policy, 1)
    actor.reset([0])
    x = [float(actor.act(frame(10 * t))[0, 0]) for t in range(7)]
    assert x == pytest.approx([0, 0.1, 0.2, 30, 30.1, 30.2, 60])
    assert len(policy.seen) == 3


def test_the_policy_reads_observation_channels_only():
    policy = Deterministic()
    ChunkActor(policy, 1).act(frame(0))
    assert list(policy.seen[0]) == ["observation.state"]


def test_a_reset_empties_the_queue_of_the_masked_world_only():
    actor = ChunkActor(Deterministic(), 2)
    actor.reset([0, 1])
    actor.act(frame(0, 0))
    actor.reset([0, 1], np.array((True, False)))
    assert actor.act(frame(50, 50))[:, 0] == pytest.approx([50, 0.1])


def test_history_begins_with_the_first_frame_repeated_and_slides():
    policy = Deterministic(n_obs_steps=3)
    actor = ChunkActor(policy, 1)
    actor.reset([0])
    for t in range(1, 5):
        actor.act(frame(t))
    assert policy.seen[0]["observation.state"][0, :, 0].tolist() == [1, 1, 1]
    assert policy.seen[1]["observation.state"][0, :, 0].tolist() == [2, 3, 4]


def test_history_does_not_reach_into_the_episode_before():
    policy = Deterministic(n_obs_steps=3)
    actor = ChunkActor(policy, 2)
    actor.reset([0, 1])
    for t in range(1, 4):
        actor.act(frame(t, t))
    actor.reset([0, 1], np.array((False, True)))
    actor.act(frame(4, 100))
    seen = policy.seen[-1]["observation.state"][..., 0]
    assert seen.tolist() == [[2, 3, 4], [100, 100, 100]]


def noises(num_envs, world, seed, steps=9):
    actor = ChunkActor(Recorder(), num_envs)
    actor.reset([seed if i == world else 1000 + i for i in range(num_envs)])
    return [float(actor.act(frame(*range(num_envs)))[world, 1]) for _ in range(steps)]


def test_noise_depends_on_the_seed_alone():
    alone = noises(1, 0, seed=7)
    assert alone == noises(5, 3, seed=7)
    assert alone != noises(1, 0, seed=8)
    assert len(set(alone)) == 3  # one draw for each chunk


def test_a_reset_of_a_neighbour_leaves_the_noise_alone():
    actor = ChunkActor(Recorder(), 2)
    actor.reset([7, 8])
    got = []
    for t in range(9):
        if t == 4:
            actor.reset([0, 99], np.array((False, True)))
        got.append(float(actor.act(frame(0, 0))[0, 1]))
    assert got == noises(1, 0, seed=7)


def test_the_same_seed_begins_the_same_episode():
    actor = ChunkActor(Recorder(), 1)
    episodes = []
    for _ in range(2):
        actor.reset([3])
        episodes.append([actor.act(frame(t)).tolist() for t in range(5)])
    assert episodes[0] == episodes[1]


def test_a_correction_sees_every_step_and_changes_what_is_executed_only():
    def correct(observation, base_action):
        return base_action + 100 * observation["observation.state"]

    actor = ChunkActor(Deterministic(), 1, correct)
    actor.reset([0])
    x = [float(actor.act(frame(t))[0, 0]) for t in (1, 2, 3)]
    assert x == pytest.approx([1 + 100, 1.1 + 200, 1.2 + 300])


def test_act_chunk_is_this_action_then_the_rest_of_the_plan():
    actor = ChunkActor(Deterministic(), 1, lambda observation, base: base + 0.5)
    actor.reset([0])
    chunk = actor.act_chunk(frame(0))
    assert chunk.shape == (1, HORIZON, ACTION_DIM)
    assert chunk[0, :, 0] == pytest.approx([0.5, 0.1, 0.2, 0.3, 0.4, 0.5])
    # a step later the plan is a step shorter and begins with the next action
    assert actor.act_chunk(frame(9))[0, :, 0] == pytest.approx([0.6, 0.2, 0.3, 0.4, 0.5])


def test_act_chunk_serves_worlds_at_different_places_in_their_chunks():
    actor = ChunkActor(Deterministic(), 2)
    actor.reset([0, 1])
    actor.act(frame(0, 0))
    actor.reset([0, 1], np.array((True, False)))
    chunk = actor.act_chunk(frame(50, 0))
    assert chunk.shape == (2, HORIZON - 1, ACTION_DIM)
    assert chunk[0, :, 0] == pytest.approx([50, 50.1, 50.2, 50.3, 50.4])
    assert chunk[1, :, 0] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])


class Told(Deterministic):
    reads_task = True


def telling(*texts):
    return {**frame(*range(len(texts))), "task": np.array(texts)}


def test_a_policy_that_reads_it_is_told_the_newest_instruction_of_each_world():
    policy = Told()
    actor = ChunkActor(policy, 2)
    actor.reset([0, 1])
    actor.act(telling("lift", "put it into the left bin"))
    assert policy.seen[-1]["task"].tolist() == ["lift", "put it into the left bin"]
    for _ in range(STEPS - 1):
        actor.act(telling("stop", "a longer sentence than the one before"))
    actor.act(telling("go on", "a longer sentence than the one before"))  # plans anew
    assert policy.seen[-1]["task"].tolist() == ["go on", "a longer sentence than the one before"]
    actor.reset([0, 1], np.array((False, True)))
    actor.act(telling("go on", "lift"))
    assert policy.seen[-1]["task"].tolist() == ["lift"]


def test_only_the_worlds_that_act_hear_what_is_new():
    policy = Told()
    actor = ChunkActor(policy, 2)
    actor.reset([0, 1])
    actor.base_action(telling("one", "two"), np.array([1]))
    actor.base_action(telling("three", "four"), np.array([0]))
    assert [seen["task"].tolist() for seen in policy.seen] == [["two"], ["three"]]


class Adaptive(Deterministic):
    """Stands by as many actions as its last frame says."""

    def predict_chunk(self, observation, noise=None, n_samples=1):
        chunk = super().predict_chunk(observation, noise, n_samples)
        return replace(chunk, n_valid=observation["observation.state"][:, -1, 0].astype(int))


def test_a_chunk_may_say_how_much_of_it_to_execute():
    policy = Adaptive()
    actor = ChunkActor(policy, 1)
    actor.reset([0])
    x = [float(actor.act(frame(value))[0, 0]) for value in (1, 2, 9, 6, 9, 9, 9, 9, 9, 3)]
    assert x == pytest.approx([1, 2, 2.1, 6, 6.1, 6.2, 6.3, 6.4, 6.5, 3])
    assert actor.act_chunk(frame(9)).shape == (1, HORIZON - 1, ACTION_DIM)


def test_worlds_execute_different_lengths_side_by_side():
    policy = Adaptive()
    actor = ChunkActor(policy, 2)
    actor.reset([0, 1])
    for _ in range(4):
        actor.act(frame(1, 2))
    assert [len(seen["observation.state"]) for seen in policy.seen] == [2, 1, 2, 1]
    # a reset plans anew however much was agreed on
    actor.reset([0, 1], np.array((False, True)))
    assert actor.act(frame(5, 6))[:, 0] == pytest.approx([5, 6])
