"""PPO on numbers that can be checked, and on a task small enough to be sure."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rl_toy import Point

from robolearn.config import PPOConfig
from robolearn.errors import UserError
from robolearn.rl.ppo import PPOLearner, Rollout, RunningScale
from robolearn.rl.proximal import advantages
from robolearn.rl.teacher import load_teacher
from robolearn.rl.teaching import TeacherTrainer


def make_config(**changes):
    settings = {
        "total_steps": 3000,
        "eval_every": 1000,
        "eval_episodes": 20,
        "stop_at": None,
        "num_envs": 16,
        "rollout_steps": 16,
        "action_repeat": 1,
        "epochs": 4,
        "minibatches": 4,
        "gamma": 0.95,
        "gae_lambda": 0.95,
        "clip": 0.2,
        "learning_rate": 3e-4,
        "target_kl": 0.02,
        "value_weight": 1.0,
        "entropy_weight": 0.0,
        "max_grad_norm": 1.0,
        "hidden": 32,
        "initial_std": 0.5,
        "final_std": 0.1,
        "std_decay": 1.0,
        "reward": "sparse",
        "imitate": None,
        "imitation_weight": 1.0,
        "imitation_steps": 1000,
    }
    return PPOConfig(**(settings | changes))


def make_rollout(learner, *, steps=6, worlds=5, obs_dim=4):
    obs = torch.randn(steps, worlds, obs_dim)
    extra = torch.rand(steps, worlds, 1)
    action, log_prob, mean = learner.act(obs)
    advantage = torch.randn(steps, worlds)
    return Rollout(obs, extra, action, log_prob, mean, advantage, torch.randn(steps, worlds), obs[..., :0])


def test_the_noise_keeps_its_first_width_and_falls_to_the_final_one_in_the_end():
    learner = PPOLearner(4, 1, 2, make_config(initial_std=0.5, final_std=0.1, std_decay=0.5), seed=0)
    widths = []
    for share in (0.0, 0.5, 0.75, 1.0):
        with torch.no_grad():
            learner.net.log_std.fill_(0.0)  # wider than is ever allowed
        learner.update(make_rollout(learner), share=share)
        widths.append(learner.net.log_std.detach().exp().max().item())
    np.testing.assert_allclose(widths, [0.5, 0.5, 0.05**0.5, 0.1], rtol=1e-5)


def test_the_ratio_is_one_and_the_divergence_zero_before_the_first_step():
    learner = PPOLearner(4, 1, 3, make_config(clip=1e-9), seed=0)
    flat = Rollout(*(x.flatten(0, 1) for x in make_rollout(learner)))
    losses = learner.losses(flat, flat.advantage, learner.net.log_std.detach().exp())
    # with every ratio 1 nothing is clipped, however narrow the clip
    np.testing.assert_allclose(float(losses["policy"].detach()), -float(flat.advantage.mean()), atol=1e-6)
    np.testing.assert_allclose(float(losses["divergence"]), 0.0, atol=1e-6)


def test_an_update_makes_good_actions_likelier():
    learner = PPOLearner(4, 1, 3, make_config(), seed=0)
    rollout = make_rollout(learner, steps=20, worlds=20)
    before = learner.net.log_prob(learner.net.mean(rollout.obs), rollout.action)
    learner.update(rollout, share=0.0)
    gain = learner.net.log_prob(learner.net.mean(rollout.obs), rollout.action) - before
    good = rollout.advantage > 0
    assert gain[good].mean() > gain[~good].mean()


def by_hand(reward, value, following, over, terminated, gamma, lam):
    """Sum of discounted TD errors up to the end of each episode."""
    result = np.zeros_like(reward)
    for t in range(len(reward)):
        weight = 1.0
        for k in range(t, len(reward)):
            bootstrap = 0.0 if terminated[k] else gamma * following[k]
            result[t] += weight * (reward[k] + bootstrap - value[k])
            if over[k]:
                break
            weight *= gamma * lam
    return result


@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.5, 0.9, 1.0]), st.sampled_from([0.0, 0.5, 0.95, 1.0]))
def test_advantages_are_the_sum_of_td_errors_of_their_episode(seed, gamma, lam):
    rng = np.random.default_rng(seed)
    reward, value, following = rng.standard_normal((3, 12))
    over = rng.random(12) < 0.3
    terminated = over & (rng.random(12) < 0.5)
    columns = [torch.tensor(x)[:, None] for x in (reward, value, following, over, terminated)]
    found = advantages(*columns, gamma=gamma, lam=lam)[:, 0].numpy()
    np.testing.assert_allclose(
        found, by_hand(reward, value, following, over, terminated, gamma, lam), rtol=1e-6, atol=1e-6
    )


@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.integers(0, 1000))
def test_the_running_scale_is_that_of_all_batches_together(sizes, seed):
    rng = np.random.default_rng(seed)
    batches = [torch.tensor(rng.normal(3.0, 2.0, (n, 2))) for n in sizes]
    scale = RunningScale(2)
    for batch in batches:
        scale.update(batch)
    together = torch.cat(batches)
    np.testing.assert_allclose(scale.mean, together.mean(0), rtol=1e-3)
    if len(together) > 1:
        np.testing.assert_allclose(scale.var, together.var(0, unbiased=False), rtol=1e-2, atol=1e-3)


# ---------------------------------------------------------------- training


class ResettingPoint(Point):
    """The toy with episodes that restart within the same step, as the trainer wants them."""

    def reset(self, *, seed=None, options=None):
        if seed is None:  # go on with fresh seeds
            self.drawn = getattr(self, "drawn", 0) + self.num_envs
            seed = self.drawn
        return super().reset(seed=seed, options=options)

    def step(self, actions):
        observation, reward, terminated, truncated, info = super().step(actions)
        over = terminated | truncated
        if over.any():
            info = {**info, "final_obs": {key: value.copy() for key, value in observation.items()}}
            observation, _ = self.reset(options={"reset_mask": over})
        return observation, reward, terminated, truncated, info


def success_of(teacher):
    env, n = Point(32), 32
    teacher.reset(list(range(n)))
    observation, _ = env.reset(seed=list(range(1000, 1000 + n)))
    success = np.zeros(n, bool)
    for _ in range(env.max_episode_steps):
        observation, _, terminated, _, _ = env.step(teacher.act(observation))
        success |= terminated
    return float(success.mean())


def train(out, **changes):
    trainer = TeacherTrainer(make_config(**changes), env=ResettingPoint(16), seed=0, out=out)
    return trainer, trainer.run(evaluate=success_of)


def test_it_learns(tmp_path):
    untrained = TeacherTrainer(make_config(), env=ResettingPoint(16), seed=0, out=tmp_path / "new").teacher()
    trainer, curve = train(tmp_path, total_steps=20_000, eval_every=2_000, stop_at=0.95, learning_rate=1e-3)
    assert success_of(untrained) < 0.5
    assert max(point["success"] for point in curve) >= 0.95
    loaded = load_teacher(tmp_path, trainer.env.schema)
    assert success_of(loaded) == max(point["success"] for point in curve)


def test_a_run_that_was_stopped_goes_on(tmp_path):
    _, first = train(tmp_path, total_steps=2000)
    resumed, curve = train(tmp_path, total_steps=4000)
    assert curve[: len(first)] == first
    assert len(curve) > len(first)
    assert resumed.steps >= 4000


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    train(tmp_path, total_steps=1200)
    with pytest.raises(UserError, match="another network"):
        train(tmp_path, total_steps=1200, hidden=16)


def test_a_held_action_lasts(tmp_path):
    trainer, _ = train(tmp_path, total_steps=1200, action_repeat=3)
    teacher = trainer.teacher()
    env = Point(4)
    teacher.reset([0, 1, 2, 3])
    observation, _ = env.reset(seed=[5, 6, 7, 8])
    taken = []
    for t in range(7):
        taken.append(teacher.act(observation))
        if t == 4:
            teacher.reset([9] * 4, np.array([True, False, False, False]))  # decides anew at once
        observation, *_ = env.step(taken[-1])
    for t in (1, 2, 4):
        np.testing.assert_array_equal(taken[t], taken[t - 1])
    assert (taken[3] != taken[2]).any()
    assert (taken[5][0] != taken[4][0]).any()
    np.testing.assert_array_equal(taken[5][1:], taken[4][1:])


def test_no_teacher_is_said_so(tmp_path):
    with pytest.raises(UserError, match="no teacher in"):
        load_teacher(tmp_path, Point(1).schema)
