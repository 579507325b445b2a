"""Actors in processes of this machine."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from process_toys import Counter

from robolearn.launch.processes import ActorError, ActorTaskError, Processes

HERE = Path(__file__).parent


@pytest.fixture
def actor(tmp_path):
    actor = Processes.remote(Counter).options(num_cpus=1).remote(str(tmp_path))
    yield actor
    Processes.kill(actor)


def appears(path):
    limit = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < limit, f"{path.name} does not appear"
        time.sleep(0.01)


def take(call):
    over, others = Processes.wait([call], num_returns=1, timeout=None)
    assert (over, others) == ([call], [])
    return Processes.get(call)


def test_answers_come_in_the_order_of_the_calls(actor):
    calls = [actor.add.remote(number) for number in (1, 2, 3)]
    pids, counts = zip(*map(take, calls), strict=True)
    assert counts == (1, 3, 6)
    assert set(pids) == {actor.process.pid} != {os.getpid()}
    assert Processes.wait(calls[:1], num_returns=1, timeout=0) == ([], calls[:1])


def test_large_messages_wait_for_nobody(actor, tmp_path):
    data = os.urandom(4 * 2**20)  # far more than a pipe holds
    calls = [actor.echo.remote(data) for _ in range(4)]  # given at once, before any is taken
    assert [take(call) == data for call in calls] == [True] * 4


def test_what_a_call_raises_is_raised_here(actor):
    with pytest.raises(ActorTaskError) as error:
        take(actor.fail.remote("plain"))
    assert isinstance(error.value.cause, ValueError)
    with pytest.raises(ActorTaskError, match="StubbornError: stubborn"):
        take(actor.fail.remote("stubborn"))
    assert take(actor.add.remote(1))[1] == 1  # it goes on


def test_a_killed_process_is_lost(actor):
    take(actor.add.remote(1))
    os.kill(actor.process.pid, signal.SIGKILL)
    calls = [actor.add.remote(1), actor.add.remote(1)]
    for call in calls:
        with pytest.raises(ActorError, match="ended with status -9"):
            take(call)


def test_an_ended_actor_closes_what_it_has_even_in_the_midst_of_a_call(actor, tmp_path):
    actor.long.remote()
    appears(tmp_path / "busy")
    Processes.kill(actor)
    assert not actor.process.is_alive()
    assert (tmp_path / "closed").exists()


def test_when_the_owner_is_killed_the_actor_ends_in_order(tmp_path):
    code = (
        "import sys, time; from process_toys import Counter; from robolearn.launch.processes import Processes\n"
        "if __name__ == '__main__':\n"
        "    actor = Processes.remote(Counter).remote(sys.argv[1]); actor.long.remote(); time.sleep(600)"
    )
    script = tmp_path / "owner.py"
    script.write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    owner = subprocess.Popen([sys.executable, str(script), str(tmp_path)], env=environment)
    appears(tmp_path / "busy")
    owner.kill()
    owner.wait()
    appears(tmp_path / "closed")
