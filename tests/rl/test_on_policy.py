"""Rollouts with every value known, and the loop of on-policy RL."""

import numpy as np
import picture_toy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from on_policy_toy import Training, make_algorithm, make_config, make_policy, shake
from picture_toy import CAMERA, Blind, Signpost
from rl_toy import Point, Scripted, Telltale, make_units, told

from robolearn.acting import Acting
from robolearn.errors import UserError
from robolearn.policies.flow.modeling_flow import build as build_flow
from robolearn.policies.serving import TorchPolicy
from robolearn.rl.on_policy import OnPolicyTrainer
from robolearn.rl.ppo_residual import PPOResidual
from robolearn.rl.reinflow import ReinFlow
from robolearn.rl.rollouts import Decisions, Explorer, Rollouts

GAMMA, LAM = 0.9, 0.8
SMALL = {"num_envs": 8, "rollout_steps": 20, "batch_size": 40, "epochs": 2, "hidden": 16, "eval_every": 320}
SMALL |= {"total_steps": 800, "stop_at": "null", "critic_warmup_rollouts": 0}


def value(frames):
    """A value that depends on the frame: (world, episode, step) of `Scripted`."""
    return frames["obs"] @ torch.tensor([0.5, 0.1, 0.03])


class Counted(Scripted):
    """Worlds that say which of them decide now, for a policy that executes two actions of a chunk."""

    every_step = False

    @property
    def deciding(self):
        return np.arange(self.num_envs) if self.every_step else np.flatnonzero(self.t % 2 == 0)


def make_rollouts(env, *, bootstrap_timeouts=True):
    explorer = Explorer(Acting(Telltale()), lambda: {"world": torch.from_numpy(env.deciding)}, env.every_step)
    return Rollouts(env, explorer, make_units(Scripted.schema), seed=0, bootstrap_timeouts=bootstrap_timeouts)


def collect(steps, *, every_step=False):
    env = Counted()
    env.every_step = every_step
    rollouts = make_rollouts(env)
    return env, rollouts, rollouts.collect(steps, value, gamma=GAMMA, lam=LAM)


def rows(rollout):
    """(world, episode, step): control steps executed, of each decision."""
    return dict(zip(map(tuple, rollout.frames["obs"].int().tolist()), rollout.steps.tolist(), strict=True))


def test_every_world_decides_when_its_chunk_is_used_up_or_its_episode_over():
    _, rollouts, rollout = collect(8)
    # episodes of 3 and 4 steps, chunks of which 2 are executed
    first = {(0, 0, 0): 2, (0, 0, 2): 1, (0, 1, 0): 2, (0, 1, 2): 1, (0, 2, 0): 2}
    second = {(1, 0, 0): 2, (1, 0, 2): 2, (1, 1, 0): 2, (1, 1, 2): 2}
    assert rows(rollout) == first | second
    assert rollout.note["world"].tolist() == rollout.frames["obs"][:, 0].tolist()
    assert rollouts.steps == 16
    assert rollouts.outcomes == [True, False, True, False]


def test_the_actions_are_those_of_the_policy_that_plans_anew_in_each_episode():
    env, *_ = collect(6)
    expected = [[told(0, t) for t in range(3)] + [told(1, t) for t in range(3)]]
    expected += [[told(0, t) for t in range(4)] + [told(1, t) for t in range(2)]]
    np.testing.assert_allclose(np.stack(env.actions)[..., 0].T, expected, atol=1e-6)


def test_a_residual_decides_at_every_control_step():
    _, _, rollout = collect(5, every_step=True)
    assert (rollout.steps == 1).all()
    assert len(rollout.steps) == 10


def test_a_rollout_begins_with_new_decisions_and_leaves_chunks_that_are_not_used_up():
    env = Counted((9,), ("truncated",))
    rollouts = make_rollouts(env)
    first = rollouts.collect(3, value, gamma=GAMMA, lam=LAM)
    assert rows(first) == {(0, 0, 0): 2, (0, 0, 2): 1}
    # the last one is worth what it led to: the state after one step of it
    gained = first.value_target[1] - value({"obs": torch.tensor([0.0, 0.0, 2.0])})
    torch.testing.assert_close(gained, torch.tensor(GAMMA * 0.03 * 3 - 0.03 * 2))


def test_success_ends_the_value_and_time_running_out_does_not():
    _, _, rollout = collect(8)
    worth = dict(zip(rows(rollout), rollout.value_target.tolist(), strict=True))
    # one step to the success of world 0, whose next episode is not its merit
    assert worth[(0, 0, 2)] == pytest.approx(1.0)
    # two steps to the end of world 1's time: the value of the true last frame
    assert worth[(1, 0, 2)] == pytest.approx(GAMMA**2 * (0.5 + 0.03 * 4))
    # delta of the decision before, and its share of what the last one gained
    delta = GAMMA**2 * 0.06 - 0.0
    assert worth[(0, 0, 0)] == pytest.approx(delta + GAMMA**2 * LAM**2 * (1.0 - 0.06))


def test_where_success_in_time_is_all_that_counts_nothing_follows_time_running_out():
    rollout = make_rollouts(Counted(), bootstrap_timeouts=False).collect(9, value, gamma=GAMMA, lam=LAM)
    worth = dict(zip(rows(rollout), rollout.value_target.tolist(), strict=True))
    assert worth[(0, 0, 2)] == pytest.approx(1.0)
    assert worth[(1, 0, 2)] == pytest.approx(0.0)
    # expected of the second decision, less the share of what that one lost
    expected = GAMMA**2 * (0.5 + 0.06)
    assert worth[(1, 0, 0)] == pytest.approx(expected - GAMMA**2 * LAM**2 * (0.5 + 0.06))
    # the rollout ends in the middle of an episode: its last frame is worth what it is
    assert worth[(1, 2, 0)] == pytest.approx(GAMMA * (0.5 + 0.1 * 2 + 0.03))


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 12))
def test_advantages_are_the_sum_of_the_td_errors_that_follow_in_the_same_episode(seed, worlds, rounds):
    rng = np.random.default_rng(seed)
    made = Decisions(worlds * rounds, gamma=GAMMA)
    history = [[] for _ in range(worlds)]
    frame = iter(rng.standard_normal((worlds * rounds * 2, 3)).astype(np.float32))
    for k in range(rounds):
        who = np.flatnonzero(rng.random(worlds) < 0.7)
        if not len(who) and not made.count:
            who = np.array([0])
        if not len(who):
            continue
        before = np.stack([next(frame) for _ in who])
        ids = made.add(who, {"obs": before}, {"who": torch.from_numpy(who)})
        for one, seen, i in zip(ids, before, who, strict=True):
            steps = int(rng.integers(1, 4))
            rewards = rng.standard_normal(steps)
            end = rng.choice(["goes on", "terminated", "cut"])
            for t, reward in enumerate(rewards):
                over = np.array([end == "terminated" and t == steps - 1])
                made.rewarded(np.array([one]), np.array([reward]), over)
            after = next(frame)
            if end == "cut" or (end == "goes on" and k == rounds - 1):
                made.ended(np.array([one]), {"obs": after[None]})
                end = "cut"
            history[i].append((seen, rewards, end, after))
    for past in history:  # a world whose last decision goes on must be cut in the end
        if past and past[-1][2] == "goes on":
            return
    rollout = made.rollout(value, lam=LAM)
    gained = (rollout.value_target - value(rollout.frames)).numpy()
    for i, past in enumerate(history):
        found = gained[rollout.note["who"].numpy() == i]
        np.testing.assert_allclose(found, by_hand(past), atol=1e-4)


def by_hand(past):
    def worth(frame):
        return float(value({"obs": torch.from_numpy(frame)}))

    result = []
    for first in range(len(past)):
        total, weight = 0.0, 1.0
        for k in range(first, len(past)):
            seen, rewards, end, after = past[k]
            steps = len(rewards)
            following = {"terminated": 0.0, "cut": worth(after)}.get(end)
            if following is None:
                following = worth(past[k + 1][0])
            returned = float(rewards @ GAMMA ** np.arange(steps))
            total += weight * (returned + GAMMA**steps * following - worth(seen))
            weight *= (GAMMA * LAM) ** steps
            if end != "goes on":
                break
        result.append(total)
    return result


# ---------------------------------------------------------------- the loop


def make_training(out, *, seed=0, **changes):
    policy = make_policy(num_inference_steps=2, train=150)
    algorithm = make_algorithm(ReinFlow, "reinflow", policy, seed=seed, **(SMALL | changes))
    return Training(algorithm, out, seed=seed)


def weights(module):
    return torch.cat([x.flatten() for x in module.state_dict().values()]).clone()


def test_steps_are_control_steps_and_end_with_the_budget(tmp_path):
    training = make_training(tmp_path)
    seen = []
    curve = training.run(lambda acting: 0.0, lambda steps, recent, figures: seen.append(steps))
    assert seen == [160, 320, 480, 640, 800]
    assert [point["steps"] for point in curve] == [0, 320, 640, 800]
    assert training.loop.clock.updates == 5


def test_the_weights_that_did_best_are_kept(tmp_path):
    training, rates, snapshots = make_training(tmp_path, actor_lr=1e-3), [], []

    def evaluate(acting):
        snapshots.append(weights(training.algorithm.actor))
        rates.append([0.2, 0.7, 0.5, 0.6][len(rates)])
        return rates[-1]

    training.run(evaluate)
    assert not torch.equal(snapshots[1], snapshots[3])
    assert torch.equal(weights(training.algorithm.actor), snapshots[1])


def test_the_critic_learns_alone_at_first(tmp_path):
    training = make_training(tmp_path, critic_warmup_rollouts=1, total_steps=160)
    before = weights(training.algorithm.actor)
    critic = weights(training.algorithm.critic)
    training.run(lambda acting: 0.0)
    assert torch.equal(weights(training.algorithm.actor), before)
    assert not torch.equal(weights(training.algorithm.critic), critic)
    again = make_training(tmp_path, critic_warmup_rollouts=1, total_steps=320)
    again.run(lambda acting: 0.0)
    assert not torch.equal(weights(again.algorithm.actor), before)


def test_the_policy_stops_where_it_has_left_that_of_the_rollout(tmp_path):
    changes = {"total_steps": 160, "epochs": 6, "batch_size": 1000, "actor_lr": 1e-2}
    free = make_training(tmp_path / "free", target_kl=100.0, **changes).run(lambda acting: 0.0)
    held = make_training(tmp_path / "held", target_kl=1e-6, **changes).run(lambda acting: 0.0)
    assert free[-1]["policy_steps"] == 6
    assert held[-1]["policy_steps"] == 1


def test_a_run_goes_on_where_it_was_with_fresh_episodes(tmp_path):
    whole = make_training(tmp_path, total_steps=320)
    whole.run(lambda acting: 0.3)
    again = make_training(tmp_path, total_steps=640)
    assert again.loop.clock.steps == 320
    assert again.loop.clock.updates == 2
    assert torch.equal(weights(again.algorithm.critic), weights(whole.algorithm.critic))
    assert torch.equal(weights(again.algorithm.noise), weights(whole.algorithm.noise))
    moments = [x.algorithm.optimizers["actor"].state_dict()["state"] for x in (again, whole)]
    for index, entry in moments[0].items():
        assert torch.equal(entry["exp_avg"], moments[1][index]["exp_avg"])
    assert again.loop.seed != whole.loop.seed
    curve = again.run(lambda acting: 0.4)
    assert [point["steps"] for point in curve] == [0, 320, 640]


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    make_training(tmp_path, total_steps=160).run(lambda acting: 0.0)
    with pytest.raises(UserError, match="another network"):
        make_training(tmp_path, hidden=8)


def test_the_same_seed_gives_the_same_run(tmp_path):
    runs = [make_training(tmp_path / name) for name in ("a", "b")]
    for one in runs:
        one.run(lambda acting: 0.0)
    assert torch.equal(weights(runs[0].algorithm.actor), weights(runs[1].algorithm.actor))
    assert torch.equal(weights(runs[0].algorithm.critic), weights(runs[1].algorithm.critic))


def test_worlds_may_be_of_any_number(tmp_path):
    training = make_training(tmp_path, total_steps=280)
    training.env = Point(7)
    training.source = training.loop.source(training.env, make_units(Point.schema))
    assert training.run(lambda acting: 0.0)[-1]["steps"] == 280


# ---------------------------------------------------------------- pictures


def picture_algorithm(kind):
    units = picture_toy.make_units()
    if kind is PPOResidual:
        changes = {"residual_scale.default": 0.5}
        return kind(make_config("ppo_residual", **SMALL, **changes), policy=Blind(), units=units, seed=0)
    torch.manual_seed(0)
    sizes = {
        "horizon": 4,
        "n_action_steps": 2,
        "n_obs_steps": 2,
        "hidden_dim": 16,
        "num_blocks": 1,
        "vision_dim": 8,
        "crop_ratio": 1.0,
    }
    module = build_flow(Signpost.schema, **sizes, condition_dim=8)
    shake(module.network)
    served = TorchPolicy(module, Signpost.schema, {"observation.state": {"mean": np.zeros(1), "std": np.ones(1)}})
    return kind(make_config("reinflow", **SMALL), policy=served, units=units, seed=0)


@pytest.mark.parametrize("kind", [ReinFlow, PPOResidual])
def test_pictures_are_kept_as_they_are_and_learned_from(kind, tmp_path):
    algorithm = picture_algorithm(kind)
    loop = OnPolicyTrainer(algorithm, algorithm.config, seed=0, out=tmp_path)
    source = loop.source(Signpost(8), picture_toy.make_units())
    rollout = source.collect(20, lambda frames: torch.zeros(len(frames["obs"])), gamma=0.99, lam=0.95)
    kept = [x for named in (rollout.frames, rollout.note) for key, x in named.items() if CAMERA in key]
    assert kept
    assert all(x.dtype == torch.uint8 and x.amax() == 220 for x in kept)
    with torch.no_grad():
        told = algorithm.log_ratio(rollout)
        assert (told[0] if kind is ReinFlow else told).abs().max() < 1e-5
    before = weights(algorithm.critic.observer)
    algorithm.update(rollout._replace(value_target=torch.rand(len(rollout.steps))))
    assert not torch.equal(weights(algorithm.critic.observer), before)
