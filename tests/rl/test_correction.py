"""A residual beside its base policy: acting, exploring, saving and loading."""

import numpy as np
import pytest
import torch
from rl_toy import Biased, Point, make_schema, make_units

from robolearn.acting import ChunkActor
from robolearn.errors import UserError
from robolearn.eval.rollout import run_episodes
from robolearn.rl.correction import (
    Exploration,
    ResidualActor,
    ResidualCorrection,
    load_residual,
    save_residual,
)
from robolearn.rl.graphs import ResidualGraph
from robolearn.rl.observer import Observer
from robolearn.rl.units import VECTOR

BOUND = 2.0
UNITS = make_units(make_schema(("a", "b", "c"), bound=BOUND), std=0.5)


def make_actor(hidden=16, *, trained=True, scale=0.5):
    """An actor; a trained one changes actions."""
    torch.manual_seed(0)
    actor = ResidualActor(Observer(UNITS), 1, hidden=hidden, scale=[scale])
    if trained:
        with torch.no_grad():
            actor.net.weights[-1].normal_(std=0.3)
    return actor


def make_frame(n=1000, seed=0):
    rng = np.random.default_rng(seed)
    frame = {"observation.state": rng.normal(size=(n, 3)).astype(np.float32)}
    return frame, rng.uniform(-BOUND, BOUND, (n, 1)).astype(np.float32)


# ---------------------------------------------------------------- acting


def test_a_zero_residual_gives_bit_identical_base_rollouts():
    units = make_units(Point.schema)
    correction = ResidualCorrection(ResidualActor(Observer(units), 1, hidden=16, scale=[0.5]), units)
    runs = [
        run_episodes(Point(4), ChunkActor(Biased(), 4, which), range(20), record=True) for which in (None, correction)
    ]
    for base, corrected in zip(*runs, strict=True):
        assert (base.seed, base.success, base.length) == (corrected.seed, corrected.success, corrected.length)
        for key, values in base.frames.items():
            np.testing.assert_array_equal(values, corrected.frames[key])


def test_a_zero_residual_gives_the_base_s_own_bits():
    frame, base = make_frame()
    np.testing.assert_array_equal(ResidualCorrection(make_actor(trained=False), UNITS)(frame, base), base)


def test_the_residual_is_at_most_its_scale_and_the_sum_is_clipped():
    frame, base = make_frame()
    for scale, clipped in ((0.1, False), (2.0, True)):
        actor = make_actor(scale=scale)
        with torch.no_grad():
            actor.net.weights[-1] *= 1000
        action = ResidualCorrection(actor, UNITS)(frame, base)
        change = np.abs(action - base) / BOUND
        assert (np.abs(action) <= BOUND).all()
        assert 0.9 * scale < change.max() <= scale + 1e-6
        assert (np.abs(action) == BOUND).mean() > 0.4 or not clipped


def test_a_correction_works_in_physical_units():
    actor = make_actor()
    frame, base = {"observation.state": np.array([[0.1, 0.2, 0.3]], np.float32)}, np.array([[1.0]], np.float32)
    seen, given = torch.tensor([[0.2, 0.4, 0.6]]), torch.tensor([[0.5]])
    with torch.no_grad():
        expected = BOUND * (given + 0.5 * actor(seen, given))
    assert abs(expected - 1.0) > 1e-3
    np.testing.assert_allclose(ResidualCorrection(actor, UNITS)(frame, base), expected, rtol=1e-6)


# ---------------------------------------------------------------- exploring


def explore(*, share, noise, seed=0, actor=None, spread=1.0):
    frame, base = make_frame()
    correction = ResidualCorrection(make_actor() if actor is None else actor, UNITS)
    exploring = Exploration(correction, np.random.default_rng(seed), share=lambda: share, noise=noise, spread=spread)
    return exploring(frame, base), correction(frame, base), base


def test_noise_explores_within_the_bounds():
    action, corrected, _ = explore(share=1.0, noise=0.8)
    assert np.abs(action).max() == pytest.approx(BOUND)
    inside = np.abs(action) < 0.99 * BOUND
    assert 0.3 < np.std((action - corrected)[inside]) / BOUND < 0.8
    quiet, corrected, _ = explore(share=1.0, noise=0.0)
    np.testing.assert_allclose(quiet, corrected, atol=1e-6)


def test_the_noise_has_the_deviation_that_was_asked_for():
    action, corrected, _ = explore(share=1.0, noise=0.01)
    assert np.std(action - corrected) / BOUND == pytest.approx(0.01, rel=0.1)


def test_worlds_explore_from_near_to_far():
    action, corrected, _ = explore(share=1.0, noise=0.01, spread=4.0)
    parts = np.array_split((action - corrected) / BOUND, 10)
    deviations = [np.std(part) for part in parts]
    assert deviations == sorted(deviations)
    assert deviations[0] == pytest.approx(0.01 / 4 * 4 ** (1 / 10), rel=0.25)
    assert deviations[-1] == pytest.approx(0.01 * 4 / 4 ** (1 / 10), rel=0.25)


def test_a_single_world_has_the_noise_that_was_asked_for():
    rng = np.random.default_rng(0)
    exploring = Exploration(ResidualCorrection(make_actor(), UNITS), rng, share=lambda: 1.0, noise=0.3, spread=4.0)
    assert exploring._deviations(1) == pytest.approx(0.3)


def test_the_noise_is_of_its_generator():
    actions = [explore(share=1.0, noise=0.1, seed=seed)[0] for seed in (0, 0, 1)]
    np.testing.assert_array_equal(actions[0], actions[1])
    assert (actions[0] != actions[2]).mean() > 0.9


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_only_a_share_of_the_steps_uses_the_residual(share):
    action, corrected, base = explore(share=share, noise=0.0)
    used = np.isclose(action, corrected, atol=1e-6)
    assert (used | np.isclose(action, base, atol=1e-6)).all()
    different = np.abs(corrected - base) > 1e-4
    assert used[different].mean() == pytest.approx(share, abs=0.06)


def test_steps_without_the_residual_are_the_base_s_own():
    action, _, base = explore(share=0.0, noise=0.5)
    np.testing.assert_array_equal(action, base)


# ---------------------------------------------------------------- saving


def test_a_saved_residual_is_read_back(tmp_path):
    actor = make_actor()
    assert load_residual(tmp_path, UNITS) is None
    save_residual(tmp_path, actor)
    frame, base = make_frame(5)
    again = load_residual(tmp_path, UNITS)
    np.testing.assert_array_equal(again(frame, base), ResidualCorrection(actor, UNITS)(frame, base))


def test_weights_that_do_not_fit_are_refused(tmp_path):
    save_residual(tmp_path, make_actor())
    (tmp_path / "other").mkdir()
    save_residual(tmp_path / "other", make_actor(hidden=8))
    (tmp_path / "other" / "residual.safetensors").replace(tmp_path / "residual.safetensors")
    with pytest.raises(UserError, match=r"does not fit residual\.json"):
        load_residual(tmp_path, UNITS)
    (tmp_path / "residual.safetensors").unlink()
    with pytest.raises(UserError, match=r"does not fit residual\.json"):
        load_residual(tmp_path, UNITS)


def test_the_graph_computes_what_the_actor_does():
    actor, (frame, base) = make_actor(), make_frame(7)
    seen, given = UNITS.frame(frame)[VECTOR], UNITS.action(base)
    with torch.no_grad():
        seen, given = torch.from_numpy(seen), torch.from_numpy(given)
        torch.testing.assert_close(ResidualGraph(actor)(seen, given), actor.combine(given, actor(seen, given)))
