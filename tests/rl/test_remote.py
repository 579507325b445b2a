"""Actors beside the learner, on a Ray of the tests' own: counts, bounds, losses, seeds."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from fake_actors_ray import FakeRay
from hypothesis import given, settings
from hypothesis import strategies as st
from remote_toys import Broken, Counting, Still, Walking, begins
from rl_toy import Biased, Point, Telltale, make_config, make_units, never

from robolearn.commands.actors import ALONE, exploring, launcher_of
from robolearn.compose import build, compose
from robolearn.errors import UserError
from robolearn.launch.on_ray import AHEAD, TRIES
from robolearn.rl.online import EPISODES, Local, OnlineTrainer, read_journal
from robolearn.rl.remote import FIRST, REFRESH, ROUNDS, RemoteActors
from robolearn.rl.residual import Residual


def remote(ray, recipe, algorithm, *, actors=1, seed=(0, 0), **options):
    return RemoteActors(ray, recipe, algorithm, actors=actors, cpus=1, seed=seed, **options)


def counting(ray, *, actors):
    return remote(ray, Counting(), Still(Telltale()), actors=actors)


def walker(config):
    return Residual(config, policy=Biased(), units=make_units(Point.schema), seed=0)


def take(source, count):
    """So many episodes, or a few more."""
    episodes = []
    while len(episodes) < count:
        episodes += source.step()
    return episodes


# ---------------------------------------------------------------- what comes


def test_an_actor_does_what_worlds_in_this_process_do_with_its_seed():
    config = make_config()
    source = remote(FakeRay(), Walking(config), walker(config))
    local = Local(Point(2), walker(config), make_units(Point.schema), seed=(0, 0, FIRST))
    for one, other in zip(take(source, 12), take(local, 12), strict=False):
        assert (one.terminated, one.success) == (other.terminated, other.success)
        np.testing.assert_array_equal(one.action, other.action)
        for key, values in other.frames.items():
            np.testing.assert_array_equal(one.frames[key], values)


def test_an_episode_is_reported_when_it_is_finished_and_unfinished_steps_count():
    source = counting(FakeRay(), actors=1)
    seen = []
    while source.steps < 24:  # worlds of 3 and 4 steps: something ends at the steps 3, 4, 6, 8, 9, 12 of each
        finished = source.step()
        seen.append((source.steps, [len(one.reward) for one in finished]))
    assert [entry for entry in seen if entry[0]] == [(6, [3]), (8, [4]), (12, [3]), (16, [4]), (18, [3]), (24, [3, 4])]


def test_long_episodes_are_reported_in_parts():
    config = make_config(num_envs=3)
    source = remote(FakeRay(), Walking(config), walker(config))
    while not source.steps:
        assert source.step() == []  # none is finished within one call
    assert source.steps <= 3 * ROUNDS


def test_a_robot_s_actor_goes_on_until_an_episode_is_finished():
    config = make_config(num_envs=1)
    source = remote(FakeRay(), Walking(config), walker(config), rounds=None)
    lengths = []
    while len(lengths) < 5:
        before = source.steps
        if finished := source.step():
            lengths.append(len(finished[0].reward))
            assert source.steps - before == lengths[-1]
        else:
            assert source.steps == before
    assert max(lengths) > ROUNDS


@given(seed=st.integers(0, 10**6), actors=st.integers(1, 5), reports=st.integers(0, 40))
def test_steps_are_those_of_the_reports_taken(seed, actors, reports):
    ray = FakeRay(seed=seed)
    source = counting(ray, actors=actors)
    episodes = [one for _ in range(reports) for one in source.step()]
    taken = [call.answer.load() for actor in ray.actors for call in actor.calls if call.taken]
    assert source.steps == sum(report.steps for report in taken)
    assert len(episodes) == sum(len(report.finished) for report in taken)


# ---------------------------------------------------------------- who waits for whom


@given(seed=st.integers(0, 10**6), actors=st.integers(1, 5), reports=st.integers(0, 40))
def test_actors_pause_when_the_learner_does_not_take_their_reports(seed, actors, reports):
    ray = FakeRay(seed=seed)
    source = counting(ray, actors=actors)
    for _ in range(reports):
        source.step()
    ray.work(10**4)  # the learner is busy with its updates
    assert not any(actor.queue for actor in ray.actors)
    for actor in ray.actors:
        assert sum(not call.taken for call in actor.calls) == AHEAD
    assert ray.most == AHEAD


def test_no_actor_is_forgotten():
    ray = FakeRay(seed=3)
    source = counting(ray, actors=4)
    source.step()
    for _ in range(10):
        ray.work(10**4)
        for _ in range(4):
            source.step()
        assert len({sum(call.taken for call in actor.calls) for actor in ray.actors}) == 1


def test_updates_keep_their_ratio_and_are_made_before_the_next_report_is_asked_for(tmp_path):
    config = make_config(total_steps=300, warmup_steps=30, critic_warmup_updates=7, utd=0.5, eval_every=100)
    ray, algorithm = FakeRay(seed=1), walker(config)
    trainer = OnlineTrainer(algorithm, config, seed=0, out=tmp_path)
    source, owed = remote(ray, Walking(config), algorithm, actors=2), []
    wait = ray.wait

    def watched(*arguments, **options):
        beyond = trainer.clock.steps - 30
        due = math.floor(0.5 * beyond) + 7 if beyond >= 0 and len(trainer.experience) else 0
        owed.append(due - trainer.clock.updates)
        return wait(*arguments, **options)

    ray.wait = watched
    trainer.run(source, evaluate=never)
    assert trainer.clock.updates > 100
    assert set(owed) == {0}
    assert ray.timeouts[0] == 0
    assert set(ray.timeouts[1:]) == {None}


class Killed(BaseException):
    pass


def test_a_killed_learner_has_all_that_it_took_and_makes_up_for_its_updates_at_once(tmp_path):
    config = make_config(total_steps=600, warmup_steps=30, eval_every=100)

    def run(on_progress):
        algorithm = walker(config)
        trainer = OnlineTrainer(algorithm, config, seed=0, out=tmp_path)
        source = remote(FakeRay(seed=2), Walking(config), algorithm, actors=2, seed=trainer.seed)
        trainer.run(source, evaluate=never, on_progress=lambda *_: on_progress(trainer))

    def killed(trainer):
        if trainer.clock.steps > 370:
            kept.append((trainer.episodes, trainer.clock.updates))
            raise Killed

    kept, seen = [], []
    with pytest.raises(Killed):
        run(killed)
    run(lambda trainer: seen.append((trainer.episodes, trainer.clock.steps, trainer.clock.updates)))
    episodes, steps, updates = seen[0]  # of the first round, which does not wait
    assert episodes == kept[0][0]
    assert updates == steps - 30 + config.critic_warmup_updates
    assert updates > 300
    assert seen[-1][1] >= 600
    found = [begins(one) for one, _ in read_journal(tmp_path / EPISODES)]
    assert len(found) == len(set(found)) == seen[-1][0]


# ---------------------------------------------------------------- weights


def inner(ray):
    return [actor.inner._made[1] for actor in ray.actors]


def test_actors_take_newer_weights_and_the_clock(monkeypatch):
    config = make_config()
    ray, algorithm = FakeRay(seed=0), walker(config)
    source = remote(ray, Walking(config), algorithm, actors=2)
    take(source, 8)
    first = algorithm.actor.net.weights[-1].detach().clone()
    torch.nn.init.normal_(algorithm.actor.net.weights[-1])
    for updates, expected in ((REFRESH - 1, first), (REFRESH, algorithm.actor.net.weights[-1])):
        algorithm.clock.steps, algorithm.clock.updates = 10 * updates, updates
        source.follow(algorithm)
        take(source, 30)
        for one in inner(ray):
            assert torch.equal(one.actor.net.weights[-1], expected)
            assert (one.clock.steps, one.clock.updates) == (10 * updates, updates)
    sent = [call for actor in ray.actors for call in actor.calls if call.args[1].load() is not None]
    assert len(sent) == 4  # two weights for each of two actors


def test_an_actor_that_replaces_another_begins_with_the_newest_weights():
    config = make_config()
    ray, algorithm = FakeRay(seed=0), walker(config)
    source = remote(ray, Walking(config), algorithm)
    take(source, 4)
    torch.nn.init.normal_(algorithm.actor.net.weights[-1])
    algorithm.clock.updates = REFRESH
    source.follow(algorithm)
    ray.kill(ray.actors[0])
    take(source, 4 + 2 * AHEAD)
    assert len(ray.actors) == 2
    assert torch.equal(inner(ray)[1].actor.net.weights[-1], algorithm.actor.net.weights[-1])


# ---------------------------------------------------------------- losses


@given(seed=st.integers(0, 10**6), actors=st.integers(1, 4))
def test_lost_actors_are_replaced_and_nothing_that_they_had_finished_is_lost(seed, actors):
    ray = FakeRay(seed=seed, loses=0.1)
    source = counting(ray, actors=actors)
    given_up = ""
    try:
        for _ in range(60):
            source.step()
    except RuntimeError as error:  # bad luck again and again at one place
        given_up = str(error)
    if given_up:
        assert "the actor died" in given_up
        assert sum(not actor.alive for actor in ray.actors) > TRIES
    hired = [seat.actor for seat in source._seats]
    assert len(hired) == actors
    for actor in ray.actors:
        finished = [call for call in actor.calls if call.answer is not None]
        taken = [call for call in finished if call.taken]
        assert taken == finished[: len(taken)]
        if actor not in hired:
            assert taken == finished
    assert ray.most <= AHEAD


def test_what_never_works_is_given_up():
    ray = FakeRay(loses=1.0)
    source = counting(ray, actors=2)
    with pytest.raises(RuntimeError, match="actors end before they report anything: the actor died"):
        take(source, 1)
    assert len(ray.actors) <= 2 + 2 * TRIES


def test_actors_that_were_lost_long_ago_do_not_count():
    ray = FakeRay()
    source = counting(ray, actors=1)
    for _ in range(3 * TRIES):
        take(source, 3)
        ray.kill(ray.actors[-1])
    take(source, 3)
    assert len(ray.actors) == 1 + 3 * TRIES


def test_a_mistake_is_raised_as_the_actor_raised_it():
    with pytest.raises(UserError) as error:
        take(remote(FakeRay(), Broken(), Still(Telltale()), actors=3), 1)
    assert str(error.value) == "there is no such task: give another"


def test_closing_ends_every_actor():
    ray = FakeRay()
    source = counting(ray, actors=3)
    take(source, 4)
    source.close()
    assert not any(actor.alive for actor in ray.actors)


# ---------------------------------------------------------------- seeds


@settings(max_examples=2)
@given(seed=st.integers(0, 10**6))
def test_no_two_actors_nor_runs_have_the_same_episodes_or_noise(seed):
    config = make_config()
    seen, actions = [], []
    for run in (0, 40):  # control steps at which the learner began
        ray = FakeRay(seed=seed)
        source = remote(ray, Walking(config), walker(config), actors=2, seed=(seed, run))
        episodes = take(source, 12)
        ray.kill(ray.actors[0])
        episodes += take(source, 24)
        assert len(ray.actors) == 3
        local = Local(Point(2), walker(config), make_units(Point.schema), seed=(seed, run))
        episodes += take(local, 12)
        seen += [begins(one) for one in episodes]
        # in units of the bounds: what exploration added to the base
        actions += [float(one.action[0, 0] - one.frames["base"][0, 0]) for one in episodes]
    assert len(set(seen)) == len(seen) >= 96
    inside = [noise for noise in actions if abs(noise) > 1e-3]
    assert len(set(inside)) == len(inside) > 20


# ---------------------------------------------------------------- the command


def config_of(*words):
    return build("finetune", compose("finetune", ["checkpoint=c", "dataset=d", *words]))


def test_without_actors_the_worlds_are_in_this_process():
    assert launcher_of(config_of()) == ALONE
    closed = []

    class World(Point):
        def close(self):
            closed.append(True)

    exploration = type("Exploration", (), {"worlds": lambda self: World(2)})()
    algorithm, units = walker(make_config()), make_units(Point.schema)
    plain = Local(Point(2), algorithm, units, seed=(0, 0))
    with exploring(exploration, algorithm, units, launcher=ALONE, seed=(0, 0)) as source:
        assert isinstance(source, Local)
        for one, other in zip(take(source, 6), take(plain, 6), strict=True):
            np.testing.assert_array_equal(one.frames["obs"], other.frames["obs"])
    assert closed == [True]


def test_actors_and_their_launcher_go_together():
    launcher = launcher_of(config_of("launcher=ray", "actors=3", "ray.address=local", "ray.cpus=0.5"))
    assert (launcher.kind, launcher.workers, launcher.address, launcher.cpus) == ("ray", 3, "local", 0.5)
    launcher = launcher_of(config_of("actors=3"))
    assert (launcher.kind, launcher.workers) == ("local", 3)
    with pytest.raises(UserError, match="actors and arms are for algorithms with a replay"):
        launcher_of(config_of("launcher=ray", "actors=3", "algo=value_guided"))
    with pytest.raises(UserError, match="launcher=ray has nothing to run: give actors=2"):
        launcher_of(config_of("launcher=ray"))
    with pytest.raises(UserError, match="unknown launcher 'rey'; did you mean 'ray'"):
        launcher_of(config_of("launcher=rey", "actors=1"))


def test_one_actor_moves_an_arm():
    launcher = launcher_of(config_of("env.backend=ros2"))
    assert (launcher.kind, launcher.workers) == ("local", 1)
    for words in (["actors=2"], ["launcher=ray", "actors=1"]):
        with pytest.raises(UserError, match="one actor moves an arm"):
            launcher_of(config_of("env.backend=ros2", *words))
    with pytest.raises(UserError, match="arms are for algorithms with a replay"):
        launcher_of(config_of("env.backend=ros2", "algo=dppo"))
    with pytest.raises(UserError, match="no pictures"):
        launcher_of(config_of("env.backend=ros2", "env.cameras=[wrist]"))


def test_ray_is_not_imported_unless_it_is_chosen():
    code = "import sys, robolearn.commands.finetune, robolearn.rl.remote; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
