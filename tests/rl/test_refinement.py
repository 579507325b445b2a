"""What fine-tuning put on top of a policy is saved and acts the same when it is read again."""

import json

import numpy as np
import pytest
import torch
from chunk_toy import Forked, chunk_config
from rl_toy import make_config, make_units

from robolearn.errors import UserError
from robolearn.rl.chunked_td import ChunkedTD
from robolearn.rl.fql import FQL
from robolearn.rl.noise_steering import NoiseSteering
from robolearn.rl.refinement import load_refinement, refinement_kind
from robolearn.rl.residual import Residual
from robolearn.rl.value_guided import ValueGuided

UNITS = make_units(Forked.schema)
KINDS = {
    "noise_steering": (NoiseSteering, "noise_steering"),
    "chunked_td": (ChunkedTD, "best_of"),
    "value_guided": (ValueGuided, "best_of"),
    "fql": (FQL, "fql"),
}


def made(name, **changes):
    """An algorithm with random weights."""
    algorithm = KINDS[name][0](chunk_config(name, **changes), policy=Forked(), units=UNITS, seed=0)
    with torch.no_grad():
        for weight in algorithm.actor.parameters():
            weight.copy_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    return algorithm


def chunks(acting, n=20):
    rng = np.random.default_rng(0)
    observation = {"observation.state": rng.uniform(-1, 1, (n, 1, 2)).astype(np.float32)}
    noise = rng.standard_normal((n, *acting.policy.noise_shape)).astype(np.float32)
    return acting.policy.predict_chunk(observation, noise).values


@pytest.mark.parametrize("name", sorted(KINDS))
def test_what_is_saved_acts_the_same_when_it_is_read(tmp_path, name):
    algorithm = made(name)
    algorithm.save(tmp_path)
    read = load_refinement(tmp_path, Forked(), UNITS)
    np.testing.assert_array_equal(chunks(read), chunks(algorithm.acting(None)))
    assert read.correction is None
    assert refinement_kind(tmp_path) == KINDS[name][1]


def test_a_greedy_actor_stays_greedy(tmp_path):
    made("noise_steering", greedy="true").save(tmp_path)
    assert load_refinement(tmp_path, Forked(), UNITS).policy.greedy


def test_a_policy_alone_acts_alone(tmp_path):
    base = Forked()
    assert load_refinement(tmp_path, base, UNITS) == (base, None)
    assert refinement_kind(tmp_path) is None


def test_the_files_of_a_residual_are_read(tmp_path):
    algorithm = Residual(make_config(), policy=Forked(), units=UNITS, seed=0)
    with torch.no_grad():
        algorithm.actor.net.biases[-1].fill_(0.5)
    algorithm.save(tmp_path)
    read = load_refinement(tmp_path, Forked(), UNITS)
    assert refinement_kind(tmp_path) == "residual"
    observation = {"observation.state": np.zeros((3, 2), np.float32)}
    base = np.full((3, 1), 0.05, np.float32)
    expected = algorithm.acting(None).correction(observation, base)
    np.testing.assert_array_equal(read.correction(observation, base), expected)


@pytest.mark.parametrize("name", ["chunked_td", "value_guided"])
def test_the_number_of_candidates_can_be_another(tmp_path, name):
    made(name).save(tmp_path)
    one = load_refinement(tmp_path, Forked(), UNITS, candidates=1)
    many = load_refinement(tmp_path, Forked(), UNITS, candidates=64)
    assert (one.policy.candidates, many.policy.candidates) == (1, 64)
    assert chunks(many).shape == chunks(one).shape


def test_candidates_need_a_critic(tmp_path):
    for name in (None, "fql"):
        if name:
            made(name).save(tmp_path)
        with pytest.raises(UserError, match="needs a critic that chooses"):
            load_refinement(tmp_path, Forked(), UNITS, candidates=4)


def test_weights_of_other_sizes_are_refused(tmp_path):
    made("fql", hidden=16).save(tmp_path)
    settings = json.loads((tmp_path / "refinement.json").read_text())
    (tmp_path / "refinement.json").write_text(json.dumps(settings | {"hidden": 32}))
    with pytest.raises(UserError, match="does not fit refinement"):
        load_refinement(tmp_path, Forked(), UNITS)


def test_missing_weights_are_refused(tmp_path):
    made("fql").save(tmp_path)
    (tmp_path / "refinement.safetensors").unlink()
    with pytest.raises(UserError, match="copy the folder whole"):
        load_refinement(tmp_path, Forked(), UNITS)


def test_an_unknown_kind_is_named_with_the_nearest(tmp_path):
    (tmp_path / "refinement.json").write_text('{"kind": "noise_stering"}')
    with pytest.raises(UserError, match="did you mean 'noise_steering'"):
        load_refinement(tmp_path, Forked(), UNITS)
