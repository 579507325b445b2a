"""Advantage-weighted matching: its surrogate by hand, its first ratio, its reference, and that it learns."""

import numpy as np
import pytest
import torch
from on_policy_toy import LEARNING, SMALL, Training, collect, make_algorithm, make_policy, shake, success
from rl_toy import Biased

from robolearn.errors import UserError
from robolearn.policies.serving import load_policy
from robolearn.rl.awm import AWM
from robolearn.rl.tuned import given

KINDS = {
    "euler": ("flow", {}),
    "heun": ("flow", {"sampler": "heun"}),
    "epsilon": ("diffusion", {}),
    "sample": ("diffusion", {"prediction_type": "sample"}),
}


def make(policy=None, **changes):
    policy = make_policy() if policy is None else policy
    return make_algorithm(AWM, "awm", policy, **(SMALL | changes))


def matched(algorithm, out):
    rollout = collect(algorithm, out)
    return rollout._replace(note=rollout.note | algorithm.matched(rollout))


@pytest.mark.parametrize("kind", KINDS)
def test_the_ratio_is_one_on_the_first_minibatch_and_the_reference_is_not_left(kind, tmp_path):
    name, settings = KINDS[kind]
    policy = make_policy(name, **settings)
    shake(policy.policy)
    algorithm = make(policy)
    rollout = matched(algorithm, tmp_path)
    part = rollout.part(torch.randperm(len(rollout.steps))[:13])
    loss, figures = algorithm.policy_loss(part)
    assert float(figures["divergence"]) < 1e-9
    assert float(figures["distance"]) < 1e-9
    assert float(loss.detach()) == pytest.approx(-float(part.advantage.mean()), abs=1e-5)


def test_the_surrogate_is_the_loss_of_the_flow_on_the_executed_actions(tmp_path):
    algorithm = make(draws=2)
    shake(algorithm.actor)
    rollout = matched(algorithm, tmp_path)
    part = rollout.part(torch.arange(4))._replace(steps=torch.tensor([1, 2, 2, 1]))
    old = part.note["error"]
    with torch.no_grad():
        observed = algorithm.policy.policy.observe(given(part.note))
        found = algorithm.error(*algorithm.prediction(algorithm.policy.policy, part.note), part.steps)
        for i, executed in enumerate(part.steps.tolist()):
            for j in range(2):
                chunk, noise, time = part.note["chunk"][i], part.note["noise"][i, j], part.note["time"][i, j]
                noisy = (1 - time) * noise + time * chunk
                velocity = algorithm.policy.policy.network(noisy[None], time[None], observed[i : i + 1])[0]
                expected = (velocity - (chunk - noise))[:executed].square().mean()
                torch.testing.assert_close(found[i, j], expected)
    assert old.shape == found.shape


def test_the_loss_falls_where_good_chunks_are_matched_and_bad_ones_are_not(tmp_path):
    algorithm = make(kl_weight=0.0, clip=10.0)
    part = matched(algorithm, tmp_path).part(torch.arange(20))
    good = torch.arange(20) < 10
    part = part._replace(advantage=good.float() * 2 - 1)
    optimizer = torch.optim.SGD(algorithm.actor.parameters(), lr=0.05)
    for _ in range(20):
        optimizer.zero_grad()
        algorithm.policy_loss(part)[0].backward()
        optimizer.step()
    with torch.no_grad():
        error = algorithm.error(*algorithm.prediction(algorithm.policy.policy, part.note), part.steps)
    gain = (part.note["error"] - error).mean(dim=1)
    assert gain[good].mean() > gain[~good].mean()


def test_the_chunks_come_from_the_policys_own_sampler_and_noise_on_top():
    for name, settings in KINDS.values():
        policy = make_policy(name, **settings)
        algorithm = make(policy, exploration_noise=0.3)
        shake(algorithm.actor)
        batch = {"observation.state": torch.randn(5, 1, 2)}
        noise = torch.randn(5, 2, 4, 1)
        with torch.no_grad():
            chunk, note = algorithm.sample(policy.policy.observe(batch), noise)
        plain = policy.policy.predict_action_chunk(batch, noise[:, 0])
        torch.testing.assert_close(chunk, (plain + 0.3 * noise[:, 1]).clamp(-1, 1))
        assert note["chunk"] is chunk


def test_the_reference_is_the_base_policy_even_in_a_resumed_run(tmp_path):
    base = make_policy(train=60).policy.state_dict()
    changes = {"actor_lr": 1e-3, "total_steps": 320, "eval_every": 160, "rollout_steps": 20}
    Training(make(make_policy(train=60), **changes), tmp_path).run()
    again = make(make_policy(train=60), **(changes | {"total_steps": 480}))
    training = Training(again, tmp_path)
    assert any(not torch.equal(x, base[key]) for key, x in again.actor.state_dict().items())
    training.run()
    assert all(torch.equal(x, base[key]) for key, x in again.reference.state_dict().items())


def test_policies_whose_loss_is_not_of_chunks_alone_are_refused():
    with pytest.raises(UserError, match="flow or diffusion policy that `robolearn train` made"):
        make(Biased())
    with pytest.raises(UserError, match="by shortcut"):
        make(make_policy(variant="shortcut"))


def test_the_saved_policy_is_the_tuned_one(tmp_path):
    algorithm = make()
    shake(algorithm.actor)
    algorithm.save(tmp_path)
    rng = np.random.default_rng(1)
    seen = {"observation.state": rng.standard_normal((6, 1, 2)).astype(np.float32)}
    noise = rng.standard_normal((6, 4, 1)).astype(np.float32)
    found, expected = (p.predict_chunk(seen, noise).values for p in (load_policy(tmp_path), algorithm.policy))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", ["flow", "diffusion"])
def test_it_learns_where_the_base_goes_beside_the_goal(kind, tmp_path):
    algorithm = make(make_policy(kind, train=600), **LEARNING)
    curve = Training(algorithm, tmp_path).run()
    assert curve[0]["success"] < 0.5
    assert success(algorithm.acting(None), episodes=100) > 0.9
