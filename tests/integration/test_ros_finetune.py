"""`robolearn finetune` on the simulated arm through real ROS 2, and every process killed once."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")

from ros_bystander import PATIENCE, Bystander, until

from robolearn.cli import main
from robolearn.data.journal import read_journal
from robolearn.rl.interaction import INTERVENTION

pytestmark = [pytest.mark.ros, pytest.mark.alone, pytest.mark.slow]
SIZES = ("policy.hidden_dim=16", "policy.num_blocks=1", "policy.condition_dim=16")
ALGO = (
    "task.max_episode_steps=16",
    "algo.eval_every=64",
    "algo.eval_episodes=2",
    "algo.warmup_steps=16",
    "algo.critic_warmup_updates=4",
    "algo.batch_size=16",
    "algo.hidden=16",
    "algo.stop_at=null",
    "arm.stale_limit=2",
    "arm.action_deadline=0.05",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Demonstrations and a base policy."""
    out = tmp_path_factory.mktemp("finetune")
    env = ("env.num_envs=2", "env.threads=1")
    assert main(["collect", "num_episodes=2", *env, "expert.noise=0", f"out={out / 'demos'}"]) == 0
    training = ("train.steps=20", "train.save_every=10", "train.batch_size=32")
    assert main(["train", f"dataset={out / 'demos'}", *SIZES, *training, f"out={out / 'base'}"]) == 0
    return out


class Learner:
    """`robolearn finetune env.backend=ros2`, in a process of its own."""

    def __init__(self, folder, out, domain, *words):
        data = (f"checkpoint={folder / 'base'}", f"dataset={folder / 'demos'}", f"out={out}")
        command = [sys.executable, "-m", "robolearn", "finetune", "env.backend=ros2", *data, *ALGO, *words]
        self.out, self.log = out, (out.parent / "learner.txt").open("ab")
        self.process = subprocess.Popen(
            [*command, f"arm.domain_id={domain}"], stdout=self.log, stderr=subprocess.STDOUT
        )

    def children(self, what):
        """Processes that it has started with `what` in their command."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == self.process.pid and what in (folder / "cmdline").read_text():
                    found.append(int(folder.name))
        return found

    def wait_for(self, episodes):
        def enough():
            assert self.process.poll() is None, self.said
            return len(journal(self.out)) >= episodes

        until(enough, f"{episodes} episodes; {self.said}", 3 * PATIENCE)

    @property
    def said(self):
        return Path(self.log.name).read_text()[-2000:]

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.log.close()


def journal(out):
    return [one for one, _ in read_journal(out / "episodes")] if out.exists() else []


def alive(pid):
    return Path(f"/proc/{pid}").exists()


def test_actor_and_learner_are_killed_and_nothing_that_was_finished_is_lost(folder, tmp_path, domain):
    out = tmp_path / "fine"
    learner = Learner(folder, out, domain, "algo.total_steps=100000")
    bystander = None
    try:
        learner.wait_for(2)
        bystander = Bystander(domain)  # the domain was to be free before
        until(lambda: not bystander.news["holding"], "the arm's news")
        (actor,) = learner.children("spawn_main")
        os.kill(actor, signal.SIGKILL)
        until(lambda: bystander.news["holding"], "the arm's hold without an actor")
        resets = bystander.news["resets"]
        until(lambda: bystander.news["resets"] > resets + 1, "another actor")
        learner.wait_for(len(journal(out)) + 1)
        (actor,) = learner.children("spawn_main")
        learner.process.kill()
        learner.process.wait()
        until(lambda: not alive(actor), "the actor's end without a learner")
    finally:
        learner.end()
        if bystander is not None:
            bystander.close()
    kept = journal(out)
    assert len(kept) >= 3
    for one in kept:
        assert one.frames[INTERVENTION].shape == (len(one.reward) + 1, 1)
    steps = sum(len(one.reward) for one in kept)
    learner = Learner(folder, out, "null", f"algo.total_steps={steps + 20}")
    try:
        assert learner.process.wait(3 * PATIENCE) == 0, learner.said
    finally:
        learner.end()
    again = journal(out)
    assert len(again) > len(kept)
    for one, same in zip(kept, again, strict=False):
        np.testing.assert_array_equal(one.action, same.action)
    assert (out / "policy" / "residual.safetensors").exists()


def test_an_arm_that_is_killed_ends_the_learner_with_a_sentence(folder, tmp_path, domain):
    learner = Learner(folder, tmp_path / "fine", domain, "algo.total_steps=100000")
    try:
        learner.wait_for(1)
        (arm,) = learner.children("simulated_arm")
        os.kill(arm, signal.SIGKILL)
        assert learner.process.wait(PATIENCE) == 2, learner.said
        assert "simulated arm ended with status -9" in learner.said.replace("\n", " ")
        assert journal(learner.out)
    finally:
        learner.end()
