"""DPPO: its transitions by hand, its first ratio, its clips and discounts, and that it learns."""

import numpy as np
import pytest
import torch
from on_policy_toy import LEARNING, SMALL, Training, collect, make_algorithm, make_policy, shake, success
from rl_toy import Biased
from torch.distributions import Normal

from robolearn.errors import UserError
from robolearn.policies.serving import load_policy
from robolearn.rl.dppo import DPPO, clips, ddpm_deviations
from robolearn.rl.tuned import given


def make(policy=None, **changes):
    policy = make_policy("diffusion") if policy is None else policy
    return make_algorithm(DPPO, "dppo", policy, **(SMALL | changes))


@pytest.mark.parametrize("prediction", ["epsilon", "sample"])
@pytest.mark.parametrize("steps", [1, 4, 10])
def test_the_ratio_is_one_on_the_first_minibatch(prediction, steps, tmp_path):
    policy = make_policy("diffusion", num_inference_steps=max(steps, 2), prediction_type=prediction)
    algorithm = make(policy, tuned_steps=steps)
    shake(algorithm.actor)
    rollout = collect(algorithm, tmp_path)
    with torch.no_grad():
        log_ratio = algorithm.log_ratio(rollout.part(torch.randperm(len(rollout.steps))[:13]))
    assert log_ratio.shape == (13, steps)
    assert log_ratio.abs().max() < 1e-5


def test_the_deviations_are_those_of_ddpm():
    alphas = torch.tensor([0.1, 0.5, 1.0])
    # sqrt of (1 - a') / (1 - a) * (1 - a / a')
    expected = [(0.5 / 0.9 * (1 - 0.2)) ** 0.5, 0.0]
    np.testing.assert_allclose(ddpm_deviations(alphas), expected, rtol=1e-6)


def test_a_step_is_that_of_ddim_with_noise():
    algorithm = make(eta=0.7, min_std=0.02)
    shake(algorithm.actor)
    module = algorithm.policy.policy
    sampler = module.sampler
    x, observed = torch.randn(3, 4, 1), torch.randn(3, 64)
    for k in range(len(sampler["times"])):
        a, after = sampler["alphas"][k : k + 2]
        with torch.no_grad():
            epsilon = module.network(x, torch.full((3,), sampler["times"][k]), observed)
            mean, std = algorithm.transition(x, torch.full((3,), k), observed)
        clean = ((x - (1 - a) ** 0.5 * epsilon) / a**0.5).clamp(-1, 1)
        sigma = 0.7 * ((1 - after) / (1 - a) * (1 - a / after)) ** 0.5
        torch.testing.assert_close(mean, after**0.5 * clean + (1 - after - sigma**2) ** 0.5 * epsilon)
        np.testing.assert_allclose(std.flatten(), max(sigma, 0.02), rtol=1e-5)


@pytest.mark.parametrize("prediction", ["epsilon", "sample"])
def test_without_noise_it_samples_as_the_policy_does(prediction):
    policy = make_policy("diffusion", prediction_type=prediction)
    algorithm = make(policy, eta=0.0)
    shake(algorithm.actor)
    batch = {"observation.state": torch.randn(5, 1, 2)}
    noise = torch.zeros(5, 5, 4, 1)
    noise[:, 0] = torch.randn(5, 4, 1)
    with torch.no_grad():
        chunk, _ = algorithm.sample(policy.policy.observe(batch), noise)
    torch.testing.assert_close(chunk, policy.policy.predict_action_chunk(batch, noise[:, 0]), rtol=1e-4, atol=1e-5)


def test_only_the_last_steps_learn_each_with_a_ratio_of_its_own(tmp_path):
    algorithm = make(make_policy("diffusion", num_inference_steps=6), tuned_steps=2)
    rollout = collect(algorithm, tmp_path)
    assert rollout.note["chain"].shape[1:] == (3, 4, 1)
    shake(algorithm.actor)
    part = rollout.part(torch.arange(4))._replace(steps=torch.tensor([1, 2, 2, 1]))
    with torch.no_grad():
        log_ratio = algorithm.log_ratio(part)
        observed = algorithm.policy.policy.observe(given(part.note))
        for k in range(2):
            chain = part.note["chain"]
            mean, std = algorithm.transition(chain[:, k], torch.full((4,), 4 + k), observed)
            change = Normal(mean, std).log_prob(chain[:, k + 1])[..., 0] - part.note["log_prob"][:, k]
            for i, executed in enumerate(part.steps.tolist()):
                mean_change = change[i, : executed if k == 1 else None].mean()
                torch.testing.assert_close(log_ratio[i, k], mean_change, rtol=1e-4, atol=1e-5)


def test_the_clip_grows_towards_the_clean_chunk_and_the_advantage_too():
    found = clips(3, first=0.001, last=0.01)
    middle = 0.001 + 0.009 * (np.exp(1.5) - 1) / (np.exp(3) - 1)
    np.testing.assert_allclose(found, [0.001, middle, 0.01], rtol=1e-5)
    np.testing.assert_allclose(clips(1, first=0.001, last=0.01), [0.01])
    algorithm = make(make_policy("diffusion"), tuned_steps=3, denoising_gamma=0.9)
    np.testing.assert_allclose(algorithm.discounts, [0.81, 0.9, 1.0], rtol=1e-6)


def test_the_loss_weighs_each_step_by_its_discount(tmp_path):
    algorithm = make(tuned_steps=2, denoising_gamma=0.5)
    rollout = collect(algorithm, tmp_path)
    part = rollout.part(torch.arange(6))._replace(advantage=torch.arange(6.0))
    loss, figures = algorithm.policy_loss(part)
    # with every ratio one it is minus the mean advantage, of which the first step counts half
    assert float(loss.detach()) == pytest.approx(-2.5 * 0.75, abs=1e-4)
    assert float(figures["divergence"]) == pytest.approx(0.0, abs=1e-8)


def test_only_diffusion_policies_of_ours_are_tuned():
    with pytest.raises(UserError, match="diffusion policy that `robolearn train` made"):
        make(Biased())
    with pytest.raises(UserError, match="by euler"):
        make(make_policy("flow"))


def test_the_saved_policy_is_the_tuned_one(tmp_path):
    algorithm = make()
    shake(algorithm.actor)
    algorithm.save(tmp_path)
    rng = np.random.default_rng(1)
    seen = {"observation.state": rng.standard_normal((6, 1, 2)).astype(np.float32)}
    noise = rng.standard_normal((6, 4, 1)).astype(np.float32)
    found, expected = (p.predict_chunk(seen, noise).values for p in (load_policy(tmp_path), algorithm.policy))
    np.testing.assert_array_equal(found, expected)


def test_it_learns_where_the_base_goes_beside_the_goal(tmp_path):
    algorithm = make(make_policy("diffusion", train=600), **LEARNING | {"total_steps": 30_000})
    curve = Training(algorithm, tmp_path).run()
    assert curve[0]["success"] < 0.5
    assert success(algorithm.acting(None), episodes=100) > 0.9
