"""Value-guided choice: implicit Q-learning on known numbers, and choosing by what was learned offline."""

import pytest
import torch
from chunk_toy import Forked, Silent, batch_of, chunk_config, constant, success_of
from rl_toy import Point, make_units

from robolearn.acting import Acting
from robolearn.errors import UserError
from robolearn.rl.best_of import BestOfPolicy
from robolearn.rl.interaction import Interaction
from robolearn.rl.offline import OfflineTrainer
from robolearn.rl.value_guided import ValueGuided

UNITS = make_units(Forked.schema)


def make(**changes):
    return ValueGuided(chunk_config("value_guided", **changes), policy=Forked(), units=UNITS, seed=0)


def own_episodes(count):
    """What the base does, good and bad."""
    interaction = Interaction(Point(16), Acting(Forked()), UNITS, seed=3)
    episodes = []
    while len(episodes) < count:
        episodes += interaction.step()
    return episodes


def test_the_value_of_a_state_is_an_expectile_of_its_chunks():
    algorithm = make(expectile=0.8, num_critics=2)
    constant(algorithm.target.net, 0.5, 0.5)
    batch = batch_of([0.0], [0.9])
    for value, weight in ((0.3, 0.8), (0.7, 0.2)):
        constant(algorithm.value, value)
        assert algorithm.value_loss(batch).item() == pytest.approx(weight * 0.04, rel=1e-5)


def test_the_value_of_a_chunk_is_its_return_and_the_state_that_follows():
    algorithm = make(num_critics=2)
    constant(algorithm.actor.net, 0.1, 0.3)
    constant(algorithm.value, 0.4)
    loss = algorithm.critic_loss(batch_of([0.0, 0.9], [0.5, 0.0]))
    assert loss.item() == pytest.approx((0.1**2 + 0.8**2 + 0.1**2 + 0.6**2) / 4, rel=1e-5)


def test_a_base_without_noise_is_refused():
    with pytest.raises(UserError, match="draws no noise"):
        ValueGuided(chunk_config("value_guided"), policy=Silent(), units=UNITS, seed=0)


def test_more_candidates_are_more_successful_without_a_step_of_interaction(tmp_path):
    algorithm = make(updates=200, eval_every=200, hidden=32, batch_size=64, tau=0.02, learning_rate=2e-3)
    trainer = OfflineTrainer(algorithm, algorithm.config, seed=0, out=tmp_path)
    curve = trainer.run(own_episodes(50), evaluate=success_of)
    assert [(point["updates"], point["steps"]) for point in curve] == [(0.0, 0.0), (200.0, 0.0)]
    assert curve[0]["success"] < 0.75
    rates = {n: success_of(Acting(BestOfPolicy(Forked(), algorithm.actor, UNITS, candidates=n))) for n in (1, 4, 16)}
    assert rates[1] < 0.75
    assert rates[4] > rates[1] + 0.15
    assert rates[16] == curve[-1]["success"] > 0.93


def test_a_stopped_training_goes_on_where_it_was(tmp_path):
    episodes = own_episodes(4)

    def trainer(updates):
        algorithm = make(updates=updates, eval_every=4)
        return OfflineTrainer(algorithm, algorithm.config, seed=0, out=tmp_path)

    trainer(4).run(episodes, evaluate=lambda _: 0.0)
    resumed = trainer(8)
    kept = {key: value.clone() for key, value in resumed.algorithm.actor.state_dict().items()}
    assert resumed.clock.updates == 4
    counted = []
    curve = resumed.run(episodes, evaluate=lambda _: 0.5, on_progress=counted.append)
    assert counted == [5, 6, 7, 8]
    assert [(point["updates"], point["success"]) for point in curve] == [(0, 0.0), (4, 0.0), (8, 0.5)]
    again = trainer(8)
    assert again.clock.updates == 8
    for key, value in again.algorithm.actor.state_dict().items():
        torch.testing.assert_close(value, resumed.algorithm.actor.state_dict()[key])
    assert any((kept[key] != value).any() for key, value in again.algorithm.actor.state_dict().items())
