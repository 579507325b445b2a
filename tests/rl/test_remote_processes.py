"""Actors in processes of this machine, beside a learner in another."""

import os
import signal

import numpy as np
import pytest
from remote_toys import Broken, Still, Walking, begins
from rl_toy import Biased, Point, Telltale, make_config, make_units

from robolearn.errors import UserError
from robolearn.launch.processes import Processes
from robolearn.rl.online import Local
from robolearn.rl.remote import FIRST, RemoteActors
from robolearn.rl.residual import Residual

pytestmark = pytest.mark.slow


def walker(config):
    return Residual(config, policy=Biased(), units=make_units(Point.schema), seed=0)


def take(source, count):
    episodes = []
    while len(episodes) < count:
        episodes += source.step()
    return episodes


def test_an_actor_does_what_worlds_here_do_and_another_takes_its_place(tmp_path):
    config = make_config()
    source = RemoteActors(
        Processes, Walking(config, str(tmp_path)), walker(config), actors=1, cpus=0, seed=(0, 0), rounds=None
    )
    try:
        first = take(source, 8)
        (pid,) = (int(path.name.removeprefix("pid-")) for path in tmp_path.glob("pid-*"))
        os.kill(pid, signal.SIGKILL)
        second = take(source, 12)
        assert len(list(tmp_path.glob("pid-*"))) == 2
    finally:
        source.close()
    local = Local(Point(2), walker(config), make_units(Point.schema), seed=(0, 0, FIRST))
    for one, other in zip(first, take(local, 8), strict=False):
        np.testing.assert_array_equal(one.action, other.action)
        np.testing.assert_array_equal(one.frames["obs"], other.frames["obs"])
    seen = [begins(one) for one in first + second]
    assert len(set(seen)) == len(seen)


def test_a_mistake_is_raised_as_the_actor_raised_it():
    source = RemoteActors(Processes, Broken(), Still(Telltale()), actors=1, cpus=0, seed=(0, 0))
    with pytest.raises(UserError, match="there is no such task: give another"):
        take(source, 1)
    source.close()
