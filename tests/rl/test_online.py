"""Interaction and bookkeeping of online RL."""

import math

import numpy as np
import pytest
import torch
from rl_toy import (
    Biased,
    Point,
    Scripted,
    Telltale,
    demonstrations,
    make_config,
    make_normalizer,
    make_trainer,
    never,
    tell,
    told,
)

from robolearn.acting import ChunkActor
from robolearn.eval.rollout import run_episodes
from robolearn.rl.correction import ResidualCorrection, Units
from robolearn.rl.online import demonstrations_to_replay
from robolearn.rl.residual import ResidualActor


def explore(tmp_path, *, steps=28, noise=0.0, **changes):
    """A trainer that has only interacted, with its scripted worlds."""
    env = Scripted()
    settings = {"total_steps": steps, "warmup_steps": steps + 1, "exploration_noise": noise, "eval_every": 10**6}
    trainer = make_trainer(env, Telltale(), tmp_path, **(settings | changes))
    trainer.run(evaluate=never)
    return env, trainer


def success_rate(correction, *, count=200, num_envs=20, policy=None):
    actor = ChunkActor(Biased() if policy is None else policy, num_envs, correction)
    episodes = run_episodes(Point(num_envs), actor, range(50_000, 50_000 + count))
    return float(np.mean([episode.success for episode in episodes]))


# ---------------------------------------------------------------- the base policy


def test_a_zero_residual_gives_bit_identical_base_rollouts():
    units = Units(make_normalizer(Point.schema), Point.schema.observation_keys)
    correction = ResidualCorrection(ResidualActor(2, 1, hidden=16, scale=[0.5]), units)
    runs = [
        run_episodes(Point(4), ChunkActor(Biased(), 4, which), range(20), record=True) for which in (None, correction)
    ]
    for base, corrected in zip(*runs, strict=True):
        assert (base.seed, base.success, base.length) == (corrected.seed, corrected.success, corrected.length)
        for key, values in base.frames.items():
            np.testing.assert_array_equal(values, corrected.frames[key])


class Listener(Telltale):
    """A base that keeps what it is told."""

    reads_task = True

    def __init__(self):
        self.heard = set()

    def predict_chunk(self, observation, noise=None, n_samples=1):
        self.heard |= set(observation["task"].tolist())
        return super().predict_chunk(observation, noise, n_samples)


def test_a_base_that_reads_an_instruction_is_told_it(tmp_path):
    env, policy = Scripted(), Listener()
    env.instructions = ["put it down"] * env.num_envs
    trainer = make_trainer(env, policy, tmp_path, total_steps=8, warmup_steps=9)
    trainer.run(evaluate=never)
    assert policy.heard == {"put it down"}
    policy.heard.clear()
    frames = {"observation.state": np.zeros((3, 3), np.float32), "action": np.zeros((3, 1), np.float32)}
    episode = {**frames, "task": np.array(["pick it up", "pick it up", "put it down"])}
    demonstrations_to_replay([episode], policy, trainer.units, trainer.config, seed=0)
    assert policy.heard == {"pick it up", "put it down"}


def test_the_warm_up_executes_the_base_policy(tmp_path):
    env, _ = explore(tmp_path)
    episode, t = np.zeros(2), np.zeros(2)
    for actions in env.actions:
        np.testing.assert_allclose(actions[:, 0], told(episode, t), rtol=0, atol=1e-6)
        t += 1
        over = t == env.lengths
        episode[over] += 1
        t[over] = 0


def test_transitions_hold_the_true_last_observation_and_the_base_s_action_there(tmp_path):
    env, trainer = explore(tmp_path)
    bound = 2.0  # normalised actions are in units of it
    stored = trainer.replay.state()
    seen = []
    for k in range(len(trainer.replay)):
        world, episode, t = stored["obs"][k]
        length, end = env.lengths[int(world)], env.ends[int(world)]
        last = t + 1 == length
        assert stored["next_obs"][k].tolist() == [world, episode, t + 1]
        assert stored["base"][k] * bound == pytest.approx(told(episode, t), abs=1e-6)
        assert stored["next_base"][k] * bound == pytest.approx(told(episode, t + 1), abs=1e-6)
        np.testing.assert_array_equal(stored["action"][k], stored["base"][k])
        assert stored["reward"][k] == float(last and end == "terminated")
        assert stored["discount"][k] == pytest.approx(0.0 if last and end == "terminated" else 0.9)
        seen.append((int(world), int(episode), int(t)))
    assert len(set(seen)) == len(seen) == trainer.steps == 28
    # both kinds of end are among them
    assert {(world, t + 1) for world, _, t in seen} >= {(0, 3), (1, 4)}


def test_n_step_transitions_end_with_their_episode(tmp_path):
    _, trainer = explore(tmp_path, n_step=3)
    stored = trainer.replay.state()
    for k in range(len(trainer.replay)):
        world, _, t = stored["obs"][k]
        length = (3, 4)[int(world)]
        steps = min(3, length - int(t))
        assert stored["next_obs"][k].tolist() == [*stored["obs"][k][:2], t + steps]
        ended = world == 0  # each of its windows reaches the termination
        assert stored["discount"][k] == pytest.approx(0.0 if ended else 0.9**steps)
        assert stored["reward"][k] == pytest.approx(0.9 ** (steps - 1) if ended else 0.0)


def test_noise_explores_within_the_bounds_and_is_what_is_stored(tmp_path):
    env, trainer = explore(tmp_path, noise=0.8)
    executed = np.concatenate(env.actions)[:, 0] / 2.0
    assert np.abs(executed).max() <= 1.0
    np.testing.assert_allclose(np.sort(executed), np.sort(trainer.replay.state()["action"][:, 0]), atol=1e-6)
    assert np.std(executed - trainer.replay.state()["base"][:, 0].mean()) > 0.4


def test_episodes_and_outcomes_are_counted(tmp_path):
    _, trainer = explore(tmp_path, steps=24)  # 12 steps of each world: 4 episodes and 3
    assert (trainer.steps, trainer.episodes) == (24, 7)
    assert sum(trainer._outcomes) == 4


def test_demonstrations_are_relabelled_with_the_base_s_actions():
    config = make_config(n_step=1)
    units = Units(make_normalizer(Scripted.schema), Scripted.schema.observation_keys)
    state = np.stack((np.zeros(5), np.full(5, 2), np.arange(5)), 1).astype(np.float32)
    episode = {
        "observation.state": state,
        "action": np.full((5, 1), 0.6, np.float32),
        "observation.stage": state[:, :1],
    }
    stored = demonstrations_to_replay([episode], Telltale(), units, config, seed=0).state()
    np.testing.assert_array_equal(stored["obs"], state)
    np.testing.assert_array_equal(stored["next_obs"][:-1], state[1:])
    np.testing.assert_allclose(stored["action"], 0.3)
    np.testing.assert_allclose(stored["base"][:, 0], [told(2, t) / 2 for t in range(5)], atol=1e-6)
    np.testing.assert_allclose(stored["next_base"][:-1], stored["base"][1:])
    assert stored["reward"].tolist() == [0, 0, 0, 0, 1]
    np.testing.assert_allclose(stored["discount"], [0.9] * 4 + [0.0])


# ---------------------------------------------------------------- budgets


@pytest.mark.parametrize("num_envs", [1, 2, 5])
def test_steps_are_control_steps_and_updates_keep_their_ratio_to_them(tmp_path, num_envs):
    trainer = make_trainer(
        Point(num_envs), Biased(), tmp_path, total_steps=60, warmup_steps=10, critic_warmup_updates=7, utd=0.5
    )
    seen = []
    trainer.run(evaluate=never, on_progress=lambda steps, recent: seen.append(steps))
    assert seen == list(range(num_envs, 61, num_envs))
    learning = 60 - math.ceil(10 / num_envs) * num_envs + num_envs  # the round that ends the warm-up learns too
    assert trainer._updates == pytest.approx(7 + 0.5 * learning, abs=1)


def test_a_warm_up_shorter_than_an_n_step_return_waits_for_the_first_one(tmp_path):
    trainer = make_trainer(Point(1), Biased(), tmp_path, warmup_steps=0, n_step=3, total_steps=8, utd=1.0)
    trainer.run(evaluate=never)
    assert len(trainer.replay)
    assert trainer._updates


def test_the_critics_learn_alone_first(tmp_path, monkeypatch):
    trainer = make_trainer(Point(2), Biased(), tmp_path, critic_warmup_updates=20, warmup_steps=16, total_steps=64)
    update, flags = trainer.learner.update, []
    start = {key: value.clone() for key, value in trainer.learner.actor.state_dict().items()}

    def watched(batch, *, actor, penalty):
        flags.append(actor)
        metrics = update(batch, actor=actor, penalty=penalty)
        unchanged = all(torch.equal(v, start[k]) for k, v in trainer.learner.actor.state_dict().items())
        assert unchanged == (len(flags) <= 20)
        return metrics

    monkeypatch.setattr(trainer.learner, "update", watched)
    trainer.run(evaluate=never)
    assert flags[:20] == [False] * 20
    assert all(flags[20:])
    assert len(flags) > 40


def test_the_actor_learns_every_so_many_updates(tmp_path, monkeypatch):
    trainer = make_trainer(Point(2), Biased(), tmp_path, critic_warmup_updates=0, actor_every=3)
    flags = []
    monkeypatch.setattr(trainer.learner, "update", lambda batch, *, actor, penalty: flags.append(actor) or {})
    trainer.run(evaluate=never)
    assert flags == [k % 3 == 0 for k in range(1, len(flags) + 1)]
    assert len(flags) > 30


@pytest.mark.parametrize(("start", "end"), [(4.0, 0.1), (4.0, 0.0)])
def test_the_penalty_falls_from_start_to_end(tmp_path, start, end):
    settings = {"residual_penalty_start": start, "residual_penalty_end": end, "residual_penalty_steps": 1000}
    trainer = make_trainer(Point(2), Biased(), tmp_path, warmup_steps=100, **settings)
    weights = []
    for trainer.steps in range(0, 1500, 50):
        weights.append(trainer._penalty())
    assert weights[:3] == [start] * 3
    assert weights[22:] == pytest.approx([end] * 8)
    assert (np.diff(weights[2:23]) < 0).all()


def test_batches_mix_demonstrations_and_own_experience(tmp_path):
    shown = demonstrations(3)
    trainer = make_trainer(Point(2), Biased(), tmp_path, demonstrations=shown, demo_ratio=0.25, batch_size=16)
    trainer.run(evaluate=never)
    known = {row.tobytes() for episode in shown for row in episode["observation.state"]}
    batch = trainer._batch()
    from_demos = [row.tobytes() in known for row in batch["obs"].numpy()]
    assert from_demos == [False] * 12 + [True] * 4
    alone = make_trainer(Point(2), Biased(), tmp_path / "alone", batch_size=16)
    alone.run(evaluate=never)
    assert len(alone._batch()["obs"]) == 16


def test_it_stops_when_two_evaluations_in_a_row_are_good_enough(tmp_path):
    rates = iter([0.0, 0.95, 0.5, 0.9, 0.92, 1.0])
    trainer = make_trainer(
        Point(2), Biased(), tmp_path, stop_at=0.9, eval_every=10, total_steps=200, warmup_steps=10**6
    )
    curve = trainer.run(evaluate=lambda correction: next(rates))
    assert [point["success"] for point in curve] == [0.0, 0.95, 0.5, 0.9, 0.92]
    assert [point["steps"] for point in curve] == [0, 10, 20, 30, 40]
    assert trainer.steps == 40


def test_the_newest_of_the_best_actors_is_kept(tmp_path):
    rates, actors = [0.2, 0.9, 0.9, 0.4, 0.3], []
    trainer = make_trainer(Point(2), Biased(), tmp_path, total_steps=64, eval_every=16, warmup_steps=10)

    def evaluate(correction):
        actors.append(correction.actor.net.weights[-1].detach().clone())
        return rates[len(actors) - 1]

    trainer.run(evaluate=evaluate)
    assert len(actors) == len(rates)
    kept = trainer.learner.best_actor.net.weights[-1]
    assert [torch.equal(kept, actor) for actor in actors] == [False, False, True, False, False]
    resumed = make_trainer(Point(2), Biased(), tmp_path, total_steps=64)
    assert torch.equal(resumed.learner.best_actor.net.weights[-1], kept)


# ---------------------------------------------------------------- learning


def test_it_learns_to_undo_the_base_s_bias(tmp_path):
    base = success_rate(None)
    trainer = make_trainer(
        Point(16),
        Biased(),
        tmp_path,
        demonstrations=demonstrations(20),
        total_steps=2000,
        warmup_steps=800,
        critic_warmup_updates=200,
        eval_every=10**6,
        utd=0.5,
        batch_size=128,
        n_step=3,
        hidden=64,
        residual_penalty_start=1.0,
        residual_penalty_end=0.1,
        residual_penalty_steps=1000,
    )
    trainer.run(evaluate=never)
    assert base < 0.4
    assert success_rate(trainer.correction) > 0.9


def test_the_toy_policy_tells_what_it_should():
    observation = {"observation.state": np.array([[[0, 3, 2]]], np.float32)}
    np.testing.assert_allclose(
        Telltale().predict_chunk(observation).values[0, :, 0], tell(3, 2, np.arange(4)), rtol=1e-6
    )
