"""ReinFlow: its likelihood by hand, its first ratio, its noise, and that it learns."""

import numpy as np
import pytest
import torch
from on_policy_toy import LEARNING, SMALL, Training, collect, make_algorithm, make_policy, shake, success
from rl_toy import Biased
from torch.distributions import Normal

from robolearn.errors import UserError
from robolearn.policies.serving import load_policy
from robolearn.rl.reinflow import ReinFlow
from robolearn.rl.tuned import given


def make(policy=None, **changes):
    policy = make_policy(train=60) if policy is None else policy
    return make_algorithm(ReinFlow, "reinflow", policy, **(SMALL | changes))


def observations(n):
    return {"observation.state": np.random.default_rng(0).standard_normal((n, 1, 2)).astype(np.float32)}


@pytest.mark.parametrize("variant", ["rectified", "shortcut"])
@pytest.mark.parametrize("steps", [1, 2, 4, 10])
def test_the_ratio_is_one_on_the_first_minibatch(variant, steps, tmp_path):
    if variant == "shortcut" and steps == 10:
        steps = 16  # a power of two
    algorithm = make(make_policy(variant=variant), denoising_steps=steps)
    shake(algorithm.actor)
    shake(algorithm.noise)
    rollout = collect(algorithm, tmp_path)
    with torch.no_grad():
        log_ratio, _ = algorithm.log_ratio(rollout.part(torch.randperm(len(rollout.steps))[:13]))
    assert log_ratio.abs().max() < 1e-5
    assert rollout.note["chain"].shape[1] == steps + 1


def test_the_ratio_is_the_mean_change_of_the_gaussians_log_density(tmp_path):
    algorithm = make(denoising_steps=3)
    rollout = collect(algorithm, tmp_path)
    shake(algorithm.actor)
    shake(algorithm.noise)
    part = rollout.part(torch.arange(5))._replace(steps=torch.tensor([1, 2, 1, 2, 2]))
    with torch.no_grad():
        log_ratio, _ = algorithm.log_ratio(part)
        observed = algorithm.policy.policy.observe(given(part.note))
        for i, executed in enumerate(part.steps.tolist()):
            terms = []
            for k in range(3):
                x, following = part.note["chain"][i, k][None], part.note["chain"][i, k + 1]
                time = torch.tensor([k / 3])
                velocity = algorithm.policy.policy.network(x, time, observed[i : i + 1])
                std = algorithm.noise(x, time, observed[i : i + 1])
                new = Normal((x + velocity / 3)[0], std[0]).log_prob(following)
                # the action has one component, so that the old density is that of each action
                change = new[:, 0] - part.note["log_prob"][i, k]
                terms += change[: executed if k == 2 else None].tolist()
            assert float(log_ratio[i]) == pytest.approx(np.mean(terms), abs=1e-5)


@pytest.mark.parametrize(("variant", "steps"), [("rectified", 3), ("shortcut", 2)])
def test_without_noise_it_samples_as_the_policy_does(variant, steps):
    policy = make_policy(variant=variant)
    algorithm = make(policy, denoising_steps=steps)
    shake(algorithm.actor)
    batch = policy.prepare(observations(5))
    noise = torch.zeros(5, 1 + steps, 4, 1)
    noise[:, 0] = torch.randn(5, 4, 1)
    with torch.no_grad():
        chunk, _ = algorithm.sample(policy.policy.observe(batch), noise)
    torch.testing.assert_close(chunk, policy.policy.predict_action_chunk(batch, noise[:, 0]))


def test_the_noise_stays_within_its_bounds_whatever_the_network_says():
    algorithm = make(noise_low=0.05, noise_high=0.3)
    x, time, observed = torch.randn(50, 4, 1), torch.rand(50), torch.randn(50, 64)
    algorithm.noise.requires_grad_(False)
    assert algorithm.noise(x, time, observed).numpy() == pytest.approx((0.05 * 0.3) ** 0.5)
    with torch.no_grad():
        algorithm.noise.net.weights[-1].normal_(std=100.0)
    std = algorithm.noise(x, time, observed)
    assert std.min() == pytest.approx(0.05, rel=1e-3)
    assert std.max() == pytest.approx(0.3, rel=1e-3)


def test_the_upper_bound_falls_after_each_rollout(tmp_path):
    algorithm = make(noise_high=0.2, noise_decay=0.5)
    bounds = []
    Training(algorithm, tmp_path).run(lambda acting: 0.0, lambda *_: bounds.append(float(algorithm.noise.high)))
    np.testing.assert_allclose(bounds, [0.2 * 0.5**0.5, 0.2 * 0.5], rtol=1e-6)


def test_noise_bounds_that_would_cross_are_refused():
    with pytest.raises(UserError, match=r"algo\.noise_high"):
        make(noise_low=0.2, noise_high=0.24, noise_decay=0.5)


def test_a_number_of_steps_that_the_policy_cannot_take_is_refused():
    with pytest.raises(UserError, match="shortcut flow takes 1, 2, 4"):
        make(make_policy(variant="shortcut"), denoising_steps=3)


def test_only_flows_of_ours_are_tuned():
    with pytest.raises(UserError, match="flow policy that `robolearn train` made"):
        make(Biased())
    with pytest.raises(UserError, match="by ddim"):
        make(make_policy("diffusion"))
    with pytest.raises(UserError, match="by heun"):
        make(make_policy(sampler="heun"))
    with pytest.raises(UserError, match="mixture of horizons"):
        make(make_policy(backbone="dit", hidden_dim=16, horizons=(2, 4)))


def test_the_saved_policy_is_the_tuned_one_at_its_number_of_steps(tmp_path):
    algorithm = make(denoising_steps=2)
    shake(algorithm.actor)
    algorithm.save(tmp_path)
    loaded = load_policy(tmp_path)
    assert loaded.policy.config.num_inference_steps == 2
    noise = np.random.default_rng(1).standard_normal((6, 4, 1)).astype(np.float32)
    found, expected = (p.predict_chunk(observations(6), noise).values for p in (loaded, algorithm.policy))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("steps", "bias"), [(1, 0.19), (4, 0.13)])
def test_it_learns_where_the_base_goes_beside_the_goal(steps, bias, tmp_path):
    algorithm = make(make_policy(train=600, bias=bias), denoising_steps=steps, **LEARNING)
    curve = Training(algorithm, tmp_path).run()
    assert curve[0]["success"] < 0.5
    assert success(algorithm.acting(None), episodes=100) > 0.9
