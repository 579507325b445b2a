"""Learning with actors on a Ray cluster of two nodes; actors and the learner may be killed."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from remote_toys import Broken, Still, begins, learn, rate
from rl_toy import Biased, Telltale

from robolearn.acting import Acting
from robolearn.cli import main
from robolearn.errors import UserError
from robolearn.launch.on_ray import connected
from robolearn.rl.online import EPISODES, read_journal
from robolearn.rl.remote import RemoteActors

pytestmark = pytest.mark.slow
pytest.importorskip("ray")
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def cluster():
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(HERE))  # for the toys
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
        made.add_node(num_cpus=2)
        made.wait_for_nodes()
        yield made
        made.shutdown()


def journal(out):
    """Where each episode of the journal began."""
    return [begins(one) for one, _ in read_journal(out / EPISODES)]


def finished(out):
    """Process and beginning of each episode that an actor finished."""
    rows = [line.split() for line in (out / "finished.txt").read_text().splitlines()]
    return [(int(pid), (float(x), float(goal))) for pid, x, goal in rows]


def test_two_actors_learn_and_what_they_finished_before_they_are_killed_is_kept(cluster, tmp_path):
    before = rate(Acting(Biased()))
    trainer = learn(tmp_path, cluster.address, deaths=2)
    assert before < 0.4
    assert rate(trainer.algorithm.acting(None)) > 0.9
    kept = journal(tmp_path)
    assert len(kept) == len(set(kept)) == trainer.episodes
    dead = {int((tmp_path / f"death-{k}").read_text()) for k in range(2)}
    assert len(dead) == 2
    theirs = [began for pid, began in finished(tmp_path) if pid in dead]
    assert theirs
    assert set(theirs) <= set(kept)
    assert set(kept) <= {began for _, began in finished(tmp_path)}
    assert len(list(tmp_path.glob("pid-*"))) == 4


def test_a_learner_and_actors_that_are_killed_at_random_moments_lose_nothing_that_was_taken(cluster, tmp_path):
    moments, notes = random.Random(0), tmp_path / "taken.txt"
    command = [sys.executable, str(HERE / "remote_toys.py"), str(tmp_path), cluster.address, "0"]
    for _ in range(3):
        for mark in tmp_path.glob("pid-*"):  # of an earlier life
            mark.unlink()
        process = subprocess.Popen(command)
        wait(process, notes, moments.randrange(3, 16))
        if process.poll() is None:
            os.kill(moments.choice(pids(tmp_path)), signal.SIGKILL)
        wait(process, notes, moments.randrange(3, 16))
        process.kill()
        process.wait()
        taken = max(int(line) for line in notes.read_text().splitlines())
        kept = journal(tmp_path)
        assert len(kept) == len(set(kept)) >= taken > 0
    assert subprocess.run(command, check=False).returncode == 0
    assert journal(tmp_path)[: len(kept)] == kept
    steps = [note["steps"] for _, note in read_journal(tmp_path / EPISODES)]
    assert (np.diff(steps) >= 0).all()
    assert steps[-1] + 2 * 8 * 20 >= 2400  # the last episodes need not end where the budget does


def count(notes):
    return len(notes.read_text().splitlines()) if notes.exists() else 0


def pids(out):
    return sorted(int(path.name.partition("-")[2]) for path in out.glob("pid-*"))


def wait(process, notes, more):
    """Wait for so many more lines of the notes, or for the process to have done its work."""
    target = count(notes) + more
    while process.poll() is None and count(notes) < target:
        time.sleep(0.01)
    assert process.returncode in (None, 0)


def test_a_mistake_is_raised_as_the_actor_raised_it(cluster):
    with connected(cluster.address, room=2) as ray:
        source = RemoteActors(ray, Broken(), Still(Telltale()), actors=2, cpus=1, seed=(0, 0))
        source.step()  # does not wait
        with pytest.raises(UserError) as error:
            source.step()
        source.close()
    assert str(error.value) == "there is no such task: give another"


def test_the_command_learns_with_actors_and_its_result_is_evaluated(cluster, tmp_path):
    env, task = ("env.num_envs=2", "env.threads=1"), "task.max_episode_steps=8"
    network = ("policy.hidden_dim=16", "policy.num_blocks=1", "policy.condition_dim=16")
    assert main(["collect", "num_episodes=2", *env, "expert.noise=0", f"out={tmp_path / 'demos'}"]) == 0
    assert main(["train", f"dataset={tmp_path / 'demos'}", *network, "train.steps=2", f"out={tmp_path / 'base'}"]) == 0
    algo = {"total_steps": 96, "warmup_steps": 16, "critic_warmup_updates": 2, "num_envs": 2, "batch_size": 8}
    words = [f"algo.{key}={value}" for key, value in {**algo, "eval_every": 48, "eval_episodes": 2}.items()]
    words += [f"checkpoint={tmp_path / 'base'}", f"dataset={tmp_path / 'demos'}", task, *env]
    ray = ["launcher=ray", "actors=3", f"ray.address={cluster.address}"]
    assert main(["finetune", *words, *ray, f"out={tmp_path / 'tuned'}"]) == 0
    assert len(list(read_journal(tmp_path / "tuned" / EPISODES))) >= 8
    assert main(["eval", f"checkpoint={tmp_path / 'tuned'}", "episodes=2", task, *env]) == 0
