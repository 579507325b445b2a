"""Online RL on the simulated arm through real ROS 2: takeover, buttons, and every process killed once."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")

from robolearn.action_space import make_action_space
from robolearn.cli import main
from robolearn.data.journal import read_journal
from robolearn.errors import UserError
from robolearn.proprioception import poses_feature, state_feature
from robolearn.real.controller import Settings
from robolearn.real.ros2.arm import RosArmEnv, require_readable
from robolearn.real.ros2.domain import choose_domain
from robolearn.real.ros2.people import TAKEOVER
from robolearn.real.ros2.processes import Child
from robolearn.rl.interaction import INTERVENTION
from robolearn.schema import Schema
from robolearn.sim.robots import get_robot

pytestmark = [pytest.mark.ros, pytest.mark.slow]
HERE = Path(__file__).parent
ROBOT = get_robot("panda")
SPACE = make_action_space("ee_delta", robot=ROBOT, dt=0.05)
FORWARD = np.array((0.008, 0.0, 0.0, 0.0, 0.04), np.float32)
PERSON = np.array((0.0005, 0.0, 0.0, 0.0, 0.04))  # goes on while it is noticed: success must not come of it
STILL = np.array((0.0, 0.0, 0.0, 0.0, 0.06), np.float32)
PATIENCE = 120.0  # s, on a busy machine


def schema(objects=("cube",), n_variants=1):
    features = {
        "observation.state": state_feature(ROBOT),
        "observation.environment_state": poses_feature(objects, n_variants),
        "action": SPACE.feature,
    }
    return Schema(features, 20)


def until(done, what, timeout=PATIENCE):
    limit = time.monotonic() + timeout
    while not done():
        assert time.monotonic() < limit, f"waited in vain for {what}"
        time.sleep(0.02)


class Bystander:
    """A node that listens to the arm's news, presses buttons and takes over."""

    def __init__(self, domain):
        import rclpy
        from rclpy.context import Context
        from rclpy.executors import SingleThreadedExecutor
        from std_msgs.msg import Float64MultiArray, String

        self.context = Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = rclpy.create_node("bystander", context=self.context)
        self.news = {"resets": -1, "holding": True}
        self.sent = []
        self.node.create_subscription(String, "/arm/episode", self._on_news, 10)
        self.node.create_subscription(Float64MultiArray, "/policy_controller/commands", self._on_command, 1000)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        threading.Thread(target=self.executor.spin, daemon=True).start()

    def _on_news(self, message):
        self.news = json.loads(message.data)

    def _on_command(self, message):
        self.sent.append(np.array(message.data))

    def press(self, name):
        from std_srvs.srv import Trigger

        client = self.node.create_client(Trigger, f"/policy_controller/{name}")
        until(client.service_is_ready, name)
        future = client.call_async(Trigger.Request())
        until(future.done, name)
        assert future.result().success

    @contextmanager
    def pressing(self, name):
        """Press again and again, for the question comes when the arm is at home."""
        ended = threading.Event()

        def go_on():
            while not ended.wait(0.3):
                self.press(name)

        thread = threading.Thread(target=go_on)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    @contextmanager
    def taking_over(self, kind, topic, message):
        publisher = self.node.create_publisher(kind, f"/policy_controller/{topic}", 1)
        until(lambda: publisher.get_subscription_count() > 0, topic)
        timer = self.node.create_timer(0.02, lambda: publisher.publish(message))
        try:
            yield
        finally:
            self.node.destroy_timer(timer)
            time.sleep(2 * TAKEOVER)  # until the arm is handed back

    def close(self):
        self.executor.shutdown()
        self.node.destroy_node()
        self.context.shutdown()


@pytest.fixture
def domain(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(HERE), prepend=os.pathsep)
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    return choose_domain()


@pytest.fixture
def bystander(domain):
    made = Bystander(domain)
    yield made
    made.close()


@pytest.fixture
def arm(domain, tmp_path):
    options = ("--plant", "kinematic_plant", "--task", "move", "--robot", "panda")
    child = Child("arm", "robolearn.real.ros2.simulated_arm", options, domain=domain, log=tmp_path / "arm.txt")
    yield child
    child.end()


def open_arm(domain, **options):
    return RosArmEnv(
        schema=schema(),
        action_space=SPACE,
        settings=Settings(stale_after=1.0, deadline=0.05),
        domain=domain,
        instruction="move",
        stage_names=("move",),
        max_episode_steps=60,
        **options,
    )


@pytest.fixture
def env(arm, domain):
    made = open_arm(domain, simulated=True, confirm=False)
    yield made
    made.close()


def test_an_episode_a_takeover_and_each_button(env, bystander):
    from geometry_msgs.msg import TwistStamped
    from std_msgs.msg import Float64MultiArray

    observation, _ = env.reset(seed=[5])
    until(lambda: bystander.news.get("seed") == 5, "news of the episode")
    assert observation["observation.environment_state"].shape == (1, 9)
    for _ in range(59):
        _, reward, terminated, truncated, info = env.step(FORWARD[None])
        if terminated[0]:
            break
    assert (reward[0], terminated[0], truncated[0], info["success"][0]) == (1.0, True, False, True)

    env.reset(seed=[6])
    with bystander.taking_over(Float64MultiArray, "intervention", Float64MultiArray(data=PERSON.tolist())):
        for _ in range(59):
            *_, info = env.step(STILL[None])
            if info["intervention"][0]:
                break
    np.testing.assert_allclose(info["action"][0], PERSON, atol=1e-8)
    bystander.press("failure")
    _, reward, terminated, *_ = env.step(STILL[None])
    assert (reward[0], terminated[0]) == (0.0, True)

    env.reset(seed=[7])
    twist = TwistStamped()
    twist.twist.linear.y, twist.twist.angular.z = 0.01, 0.02
    with bystander.taking_over(TwistStamped, "intervention_twist", twist):
        for _ in range(59):
            *_, info = env.step(STILL[None])
            if info["intervention"][0]:
                break
    np.testing.assert_allclose(info["action"][0, :4], (0, 0.0005, 0, 0.001), atol=1e-7)
    bystander.press("success")
    _, reward, terminated, *_ = env.step(STILL[None])
    assert (reward[0], terminated[0]) == (1.0, True)

    env.reset(seed=[8])
    bystander.press("stop")
    *_, truncated, _ = env.step(FORWARD[None])
    assert truncated[0]
    until(lambda: bystander.news["holding"], "the hold")
    env.reset(seed=[9])
    assert not env.step(STILL[None])[3][0]


def test_an_arm_that_is_killed_ends_the_episode_and_is_named(env, arm):
    env.reset(seed=[1])
    env.step(STILL[None])
    os.kill(arm.process.pid, signal.SIGKILL)
    for _ in range(59):
        *_, truncated, info = env.step(STILL[None])
        if truncated[0]:
            break
    assert truncated[0]
    assert not info["success"][0]
    with pytest.raises(UserError, match="in vain for the simulated arm's re"):
        env.reset(seed=[2])


def test_an_operator_arranges_judges_and_resets(arm, domain, bystander):
    env = open_arm(domain, simulated=False, confirm=True)
    try:
        with bystander.pressing("ready"):
            observation, _ = env.reset()
        away = observation["observation.state"][0, :7] - ROBOT.home
        assert np.abs(away).max() < 0.05
        assert not env.step(STILL[None])[2][0]
        bystander.press("success")
        _, reward, terminated, *_ = env.step(STILL[None])
        assert (reward[0], terminated[0]) == (1.0, True)
        bystander.press("stop")  # between episodes
        waiting = threading.Thread(target=env.reset)
        waiting.start()
        waiting.join(2.0)
        assert waiting.is_alive()  # until somebody has seen to it
        with bystander.pressing("ready"):
            waiting.join(PATIENCE)
        assert not waiting.is_alive()
        assert not env.step(STILL[None])[3][0]
    finally:
        env.close()


def test_channels_that_an_arm_has_not_are_named():
    require_readable(schema())
    with pytest.raises(UserError, match=r"'observation\.environment_state' holds what is asked for"):
        require_readable(schema(objects=("cube", "ball"), n_variants=2))


# ---------------------------------------------------------------- the whole command

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
