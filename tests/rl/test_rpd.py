"""Refined policy distillation: the term by hand, who advises, and a student that learns faster than without."""

import numpy as np
import pytest
import torch
from rl_toy import Biased, Point, Scripted, Telltale, told
from test_ppo import ResettingPoint, make_config, make_rollout, success_of, train

from robolearn.acting import Acting, ChunkActor
from robolearn.errors import UserError
from robolearn.eval.rollout import run_episodes
from robolearn.rl.ppo import PPOLearner, Rollout, imitation_loss
from robolearn.rl.rpd import Adviser, imitation_weight
from robolearn.rl.teaching import TeacherTrainer
from robolearn.schema import SchemaError


def test_the_term_is_the_squared_distance_of_the_components_that_the_policy_has():
    mean = torch.tensor([[1.0, 2.0, 9.0], [0.0, 0.0, 9.0]])
    assert imitation_loss(mean, torch.tensor([[0.0, 0.0], [1.0, 0.0]])).item() == pytest.approx((1 + 4 + 1) / 2)


def test_the_weight_falls_evenly_to_nothing():
    config = make_config(imitate="policy", imitation_weight=4.0, imitation_steps=1000)
    assert [imitation_weight(config, steps) for steps in (0, 250, 1000, 2000)] == [4.0, 3.0, 0.0, 0.0]
    assert imitation_weight(make_config(), 0) == 0.0


def test_the_update_draws_the_mean_towards_the_advice():
    torch.manual_seed(0)
    learner = PPOLearner(4, 1, 3, make_config(learning_rate=1e-3, target_kl=10.0), seed=0)
    rollout = make_rollout(learner)._replace(advice=torch.full((6, 5, 2), 0.8))
    still = rollout._replace(advantage=torch.zeros(6, 5))
    before = learner.net.mean(rollout.obs).detach()
    for _ in range(5):
        figures = learner.update(still, share=0.0, imitation=1.0)
    after = learner.net.mean(rollout.obs).detach()
    assert (after - 0.8).abs()[..., :2].mean() < 0.5 * (before - 0.8).abs()[..., :2].mean()
    assert figures["imitation"] > 0


def test_without_a_weight_nothing_is_imitated():
    losses = []
    for advice in (0.8, -0.8):
        torch.manual_seed(0)
        learner = PPOLearner(4, 1, 3, make_config(), seed=0)
        rollout = make_rollout(learner)._replace(advice=torch.full((6, 5, 2), advice))
        losses.append(learner.update(Rollout(*rollout), share=0.0))
    assert losses[0] == losses[1]
    assert "imitation" not in losses[0]


# ---------------------------------------------------------------- who advises


def test_the_policy_plans_anew_at_every_state():
    env = Scripted(lengths=(5, 5))
    adviser = Adviser(Acting(Telltale()), env, action_repeat=1, seed=0)
    observation, _ = env.reset()
    for step in range(4):
        advice = adviser(observation)
        assert advice.shape == (2, 1)
        # what it plans at this very step, as a share of the bound 2
        np.testing.assert_allclose(advice, told(0, 0) / 2 + 0.02 * step / 2, atol=1e-6)
        observation, *_ = env.step(np.zeros((2, 1), np.float32))


def test_the_policy_s_correction_is_part_of_the_advice():
    env = Scripted()
    adviser = Adviser(Acting(Telltale(), lambda observation, base: base + 1.0), env, action_repeat=1, seed=0)
    np.testing.assert_allclose(adviser(env.reset()[0]), 0.5, atol=1e-6)


def test_advice_lies_within_the_bounds():
    env = Scripted()
    adviser = Adviser(Acting(Telltale(), lambda observation, base: base + 9.0), env, action_repeat=1, seed=0)
    np.testing.assert_array_equal(adviser(env.reset()[0]), 1.0)


def test_a_policy_of_other_channels_or_with_gaps_in_its_frames_is_refused():
    with pytest.raises(SchemaError):
        Adviser(Acting(Biased()), Scripted(), action_repeat=1, seed=0)
    remembering = Telltale()
    remembering.n_obs_steps = 2
    Adviser(Acting(remembering), Scripted(), action_repeat=1, seed=0)
    with pytest.raises(UserError, match="reads 2 frames in a row"):
        Adviser(Acting(remembering), Scripted(), action_repeat=2, seed=0)


# ---------------------------------------------------------------- as a whole


def test_the_student_learns_faster_than_alone_and_becomes_better_than_the_policy(tmp_path):
    policy = Biased(bias=0.12)
    settings = {"total_steps": 4000, "learning_rate": 1e-3, "imitation_weight": 2.0, "imitation_steps": 3000}
    config, env = make_config(imitate="policy", **settings), ResettingPoint(16)
    adviser = Adviser(Acting(policy), env, action_repeat=1, seed=0)
    student = TeacherTrainer(config, env=env, adviser=adviser, seed=0, out=tmp_path / "student")
    advised = student.run(evaluate=success_of)
    _, alone = train(tmp_path / "alone", total_steps=4000, learning_rate=1e-3)
    episodes = run_episodes(Point(20), ChunkActor(policy, 20), range(50_000, 50_200))
    assert np.mean([episode.success for episode in episodes]) < 0.8
    assert advised[-1]["success"] > 0.9 > alone[-1]["success"] + 0.2
    assert "imitation" in advised[0]
    assert "imitation" not in advised[-1]  # its time was over
