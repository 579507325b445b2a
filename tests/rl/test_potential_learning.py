"""Algorithms, loops and rollouts whose rewards are shaped."""

import numpy as np
import pytest
import remote_toys
import step_toy
import torch
from chunk_toy import Forked, chunk_config
from potential_toy import Climbing, Nearing, climbed, nearness
from rl_toy import Biased, Point, Scripted, Telltale, demonstrations, make_config, make_units, never

from robolearn.acting import Acting
from robolearn.rewards.shaping import Shaping
from robolearn.rl.chunked_td import ChunkedTD
from robolearn.rl.experience import relabelled
from robolearn.rl.fql import FQL
from robolearn.rl.ibrl import IBRL
from robolearn.rl.noise_steering import NoiseSteering
from robolearn.rl.online import EPISODES, Local, OnlineTrainer, read_journal
from robolearn.rl.potential import POTENTIAL, PotentialEnv, reshaped
from robolearn.rl.residual import Residual
from robolearn.rl.rlpd import RLPD
from robolearn.rl.rollouts import Explorer, Rollouts
from robolearn.rl.units import VECTOR

GAMMA = 0.9


def shifted(batch, offset, after):
    """A batch whose values lose so much at its frames and after them."""
    n = len(batch.reward)
    return batch._replace(offset=torch.full((n,), offset), offset_after=torch.full((n,), after))


@pytest.mark.parametrize(("kind", "name"), [(Residual, "residual"), (RLPD, "rlpd"), (IBRL, "ibrl")])
@pytest.mark.parametrize(("imagined", "worth"), [(7.0, 0.7), (-7.0, -0.3), (0.2, 0.2)])
def test_what_follows_is_kept_within_the_bounds_of_its_potential(kind, name, imagined, worth):
    learner = step_toy.make_learner(kind, name)
    target = learner.actor.judge if kind is IBRL else learner.critic_target
    step_toy.constant(target, [imagined] * 2)
    step_toy.constant(learner.critic, [0.5 + 0.9 * worth] * 2)
    batch = shifted(step_toy.make_batch(reward=torch.full((32,), 0.5)), 0.1, 0.3)
    assert learner.critic_loss(batch).item() == pytest.approx(0, abs=1e-10)


def gradient(loss, network):
    return torch.cat([x.flatten() for x in torch.autograd.grad(loss, list(network.parameters()), allow_unused=False)])


def lose(critic, offset):
    """Let every value be less."""
    with torch.no_grad():
        critic.biases[-1].sub_(offset)


def test_the_residual_s_units_of_value_are_those_of_the_reward_alone():
    learner, batch = step_toy.make_learner(Residual, "residual"), step_toy.make_batch()

    def slope(one):
        learner.generator.manual_seed(0)
        return gradient(learner.actor_loss(one, penalty=0.1)[0], learner.actor.net)

    before = slope(batch)
    lose(learner.critic, 0.4)
    torch.testing.assert_close(slope(shifted(batch, 0.4, 0.0)), before, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(slope(batch), before, atol=1e-5, rtol=1e-2)


def test_so_are_those_of_flow_q_learning():
    algorithm = FQL(chunk_config("fql"), policy=Forked(), units=make_units(Forked.schema), seed=0)
    seen = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))

    def slope(offset):
        algorithm.generator.manual_seed(0)
        return gradient(algorithm.improvement_loss(seen, offset), algorithm.actor.net)

    before = slope(0.0)
    lose(algorithm.critic, 0.4)
    torch.testing.assert_close(slope(torch.full((64,), 0.4)), before, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(slope(0.0), before, atol=1e-5, rtol=1e-2)


@pytest.mark.parametrize(("kind", "name"), [(ChunkedTD, "chunked_td"), (NoiseSteering, "noise_steering"), (FQL, "fql")])
@pytest.mark.parametrize("shaping", [None, Shaping(), Shaping("raw")])
def test_algorithms_of_chunks_learn_from_shaped_worlds(kind, name, shaping, tmp_path):
    base, config = Forked(), chunk_config(name, num_envs=4, total_steps=80, warmup_steps=40)
    learner = kind(config, policy=base, units=make_units(base.schema), seed=0)
    loop = OnlineTrainer(learner, config, seed=0, out=tmp_path, shaping=shaping)
    env = PotentialEnv(Nearing(4))
    curve = loop.run(Local(env, learner, make_units(base.schema), seed=loop.seed), evaluate=never)
    assert loop.clock.updates > 20
    assert np.isfinite(curve[-1]["critic_loss"])
    drawn = loop.experience.batch(64, steps=base.n_action_steps)
    assert drawn.frames[POTENTIAL].shape == (64,)
    assert isinstance(drawn.offset, float) == (shaping is None)


# ---------------------------------------------------------------- the loop


def start(out, shaping):
    config, units = make_config(total_steps=120, warmup_steps=60), make_units(Point.schema)
    algorithm = Residual(config, policy=Biased(), units=units, seed=0)
    loop = OnlineTrainer(algorithm, config, seed=0, out=out, shaping=shaping)
    return loop, Local(PotentialEnv(Nearing(2)), algorithm, units, seed=loop.seed)


def rewards(loop):
    """Every reward in the replay, in its order."""

    class Each:
        def integers(self, high, size):
            return np.arange(size)

    replay = loop.experience.online
    return replay.draw(Each(), len(replay), length=1, gamma=GAMMA).reward


def test_what_is_written_is_the_task_s_own_and_is_shaped_again_when_a_run_goes_on(tmp_path):
    loop, source = start(tmp_path, Shaping())
    told = []
    loop.run(source, evaluate=never, on_progress=lambda steps, recent, metrics: told.append(recent))
    written = [one for one, _ in read_journal(tmp_path / EPISODES)]
    assert len(written) == loop.episodes > 3
    for one in written:
        assert one.reward.tolist() == [0.0] * (len(one.reward) - 1) + [float(one.success)]
        assert one.frames[POTENTIAL].shape == (len(one.reward) + 1,)
    assert told[-1] == np.mean([one.success for one in written])
    expected = np.concatenate([reshaped(one, Shaping(), gamma=GAMMA).reward for one in written])
    np.testing.assert_array_equal(rewards(loop), expected)
    np.testing.assert_array_equal(rewards(start(tmp_path, Shaping())[0]), expected)


# ---------------------------------------------------------------- rollouts


def value(frames):
    return frames[VECTOR] @ torch.tensor([0.5, 0.1, 0.03])


def shaped_value(frames):
    return value(frames) - climbed(frames)


@pytest.mark.parametrize("every_step", [True, False])
@pytest.mark.parametrize("steps", [[8], [3, 2, 3]])
@pytest.mark.parametrize("goes_on", [True, False])
def test_advantages_of_rollouts_are_those_without_shaping_and_values_change_by_the_potential(
    every_step, steps, goes_on
):
    found = []
    for shaping, worth in ((None, value), (Shaping(), shaped_value)):
        explorer = Explorer(Acting(Telltale()), dict, every_step)
        rollouts = Rollouts(
            PotentialEnv(Climbing()),
            explorer,
            make_units(Scripted.schema),
            seed=0,
            shaping=shaping,
            bootstrap_timeouts=goes_on,
        )
        found.append([rollouts.collect(n, worth, gamma=GAMMA, lam=0.8) for n in steps])
    for plain, shaped in zip(*found, strict=True):
        assert torch.equal(plain.frames[VECTOR], shaped.frames[VECTOR])
        torch.testing.assert_close(shaped.advantage, plain.advantage, atol=1e-5, rtol=1e-5)
        expected = plain.value_target - climbed(plain.frames)
        torch.testing.assert_close(shaped.value_target, expected, atol=1e-5, rtol=1e-5)


# ---------------------------------------------------------------- what comes of it


def learned(out, shaping):
    """Success of a residual on a base that goes beside the goal, after a while."""
    config = remote_toys.learning_config(total_steps=1600, eval_every=1600)
    base, units = Biased(bias=0.2), make_units(Point.schema)
    algorithm = Residual(config, policy=base, units=units, seed=0)
    loop = OnlineTrainer(algorithm, config, seed=0, out=out, shaping=shaping)
    shown = demonstrations(10)
    for episode in shown:
        episode[POTENTIAL] = nearness(*episode["observation.state"].T)
    source = Local(PotentialEnv(Nearing(8)), algorithm, units, seed=loop.seed)
    curve = loop.run(source, relabelled(shown, base, units, seed=0), evaluate=remote_toys.rate)
    return [point["success"] for point in curve]


def test_a_potential_leaves_what_is_learned_and_raw_progress_teaches_to_linger(tmp_path):
    assert learned(tmp_path / "potential", Shaping())[-1] > 0.9
    before, after = learned(tmp_path / "raw", Shaping("raw"))
    assert after <= before < 0.1
