"""What online RL put on top of a policy, or in its place, on ONNX Runtime."""

import numpy as np
import pytest
import torch
from test_export_policies import CAMERA, SIZE, STATE, export, make

from robolearn.acting import Acting, ChunkActor
from robolearn.errors import UserError
from robolearn.export.bundle import check_parity
from robolearn.protocols import Policy
from robolearn.real.bundle import load_bundle
from robolearn.rl.best_of import BestOfPolicy, ChunkCritic
from robolearn.rl.chunks import chunk_size
from robolearn.rl.correction import ResidualActor, ResidualCorrection
from robolearn.rl.fql import OneStepActor, OneStepPolicy
from robolearn.rl.gaussian import SquashedGaussian
from robolearn.rl.ibrl import Choice, Proposer
from robolearn.rl.noise_steering import SteeredPolicy
from robolearn.rl.observer import Observer
from robolearn.rl.rlpd import GaussianPolicy
from robolearn.rl.units import Units


def steered(base, units, **settings):
    actor = SquashedGaussian(Observer(units), int(np.prod(base.noise_shape)), hidden=8, bound=1.5)
    return Acting(SteeredPolicy(base, shaken(actor), units, **settings))


def best_of(base, units, **settings):
    critic = ChunkCritic(units, chunk_size(base), hidden=8, heads=2, layer_norm=True)
    return Acting(BestOfPolicy(base, shaken(critic), units, candidates=3, **settings))


def one_step(base, units):
    dims = {"noise_dim": int(np.prod(base.noise_shape)), "chunk": chunk_size(base)}
    return Acting(OneStepPolicy(base, shaken(OneStepActor(Observer(units), **dims, hidden=8)), units))


def gaussian(base, units):
    actor = SquashedGaussian(Observer(units), base.schema.action.shape[0], hidden=8)
    return Acting(GaussianPolicy(shaken(actor), units, base.schema))


def choice(base, units):
    proposer = Proposer(units, hidden=8, heads=2, layer_norm=True)
    return Acting(base, Choice(shaken(proposer), units))


def residual(base, units):
    actor = ResidualActor(Observer(units), 5, hidden=8, scale=[0.5] * 5)
    return Acting(base, ResidualCorrection(shaken(actor), units))


CASES = {
    "steered": (steered, {}),
    "greedily steered": (steered, {"greedy": True}),
    "best of three": (best_of, {}),
    "drawn by value": (best_of, {"temperature": 0.5}),
    "one step": (one_step, {}),
    "gaussian": (gaussian, {}),
    "better of two": (choice, {}),
    "residual": (residual, {}),
}


def shaken(module):
    """Weights of no special value: what is zero tells nothing."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.3)
    return module


def bundled(path, base, acting):
    return load_bundle(export(path, base, acting))


def seen(policy, *lead):
    rng = np.random.default_rng(1)
    frames = {"observation.state": rng.normal(size=(*lead, *STATE.shape)).astype(np.float32)}
    if CAMERA in policy.schema:
        frames[CAMERA] = rng.integers(0, 256, (*lead, *SIZE), np.uint8)
    return frames


# two are variants of others
EVERY = [pytest.param(case, marks=pytest.mark.slow if settings else ()) for case, (_, settings) in CASES.items()]


@pytest.mark.parametrize("case", EVERY)
def test_the_bundle_acts_as_what_was_trained(case, tmp_path):
    base = make("flow-mlp")
    kind, settings = CASES[case]
    acting = kind(base, Units(base.normalizer, base.schema), **settings)
    bundle = bundled(tmp_path / "bundle", base, acting)
    assert isinstance(bundle.policy, Policy)
    assert check_parity(acting.policy, bundle.policy, seen(base, 32, acting.policy.n_obs_steps)) < 1e-4
    actions = []
    for policy, correction in (acting, (bundle.policy, bundle.correction), (base, None)):
        actor = ChunkActor(policy, 6, correction)
        actor.reset(range(6))
        actions.append(np.stack([actor.act(seen(base, 6)) for _ in range(5)]))
    np.testing.assert_allclose(actions[0], actions[1], atol=2e-5)
    assert np.abs(actions[0] - actions[2]).max() > 1e-3  # it is not the base


def test_samples_of_one_observation_are_chosen_one_by_one(tmp_path):
    base = make("flow-mlp")
    acting = best_of(base, Units(base.normalizer, base.schema))
    bundle = bundled(tmp_path / "bundle", base, acting)
    noise = np.random.default_rng(0).standard_normal((4 * 2, *acting.policy.noise_shape), np.float32)
    chunks = [p.predict_chunk(seen(base, 4, 2), noise, n_samples=2).values for p in (acting.policy, bundle.policy)]
    assert chunks[0].shape == (4, 2, 8, 5)
    np.testing.assert_allclose(*chunks, atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["steered", "best of three", "one step", "gaussian", "better of two"])
def test_pictures_are_seen_too(case, tmp_path):
    base = make("flow-mlp-cnn")
    kind, settings = CASES[case]
    acting = kind(base, Units(base.normalizer, base.schema), **settings)
    bundle = bundled(tmp_path / "bundle", base, acting)
    assert check_parity(acting.policy, bundle.policy, seen(base, 8, acting.policy.n_obs_steps)) < 1e-4


def test_an_unknown_kind_is_refused(tmp_path):
    base = make("flow-mlp")
    bundle = bundled(tmp_path / "bundle", base, residual(base, Units(base.normalizer, base.schema)))
    manifest = (bundle.path / "manifest.json").read_text()
    (bundle.path / "manifest.json").write_text(manifest.replace('"kind": "correction"', '"kind": "telepathy"'))
    with pytest.raises(UserError, match=r"telepathy|does not list"):
        load_bundle(bundle.path)
