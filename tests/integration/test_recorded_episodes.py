"""A simulated episode is driven by the control loop in virtual time, recorded, imported, and trained on."""

import numpy as np
import pytest

pytest.importorskip("rosbags", reason="the extra 'recordings' is not installed")

from robolearn.action_space import make_action_space, still
from robolearn.cli import main
from robolearn.data.check import check_dataset
from robolearn.data.dataset import EpisodeDataset
from robolearn.proprioception import pose_vector, poses_feature, proprioception, state_feature
from robolearn.real.controller import Controller
from robolearn.real.messages import Answer
from robolearn.real.record_settings import RecordSettings
from robolearn.real.recorder import Recorder
from robolearn.real.recording import About
from robolearn.real.settings import Settings
from robolearn.real.state_machine import Event
from robolearn.real.takeover import Led, Person
from robolearn.schema import Schema
from robolearn.sim.ros_arm import make_plant

RATE, FPS = 250, 20
STEPS = 30


class Arm:
    """The simulated arm as a `Robot`, in virtual time."""

    def __init__(self, plant, schema):
        self.plant, self.schema, self.command = plant, schema, None

    def age(self):
        return 0.0

    def read(self):
        state = self.plant.state
        observation = {"observation.state": proprioception(self.plant.robot, state.joints[0], state.width[0])}
        parts = [pose_vector(*(part[0] for part in state.objects[name])) for name in self.plant.objects]
        observation["observation.environment_state"] = np.concatenate(parts).astype(np.float32)
        return observation, 0.0

    def write(self, position):
        self.command = position.copy()


class Policy:
    """Answers at once with random actions, and keeps what was asked and answered."""

    def __init__(self, feature, seed):
        self.alive, self.rng, self.feature = True, np.random.default_rng(seed), feature
        self.asked, self.answer, self.frames = [], None, []

    def reset(self, *, epoch, seed):
        self.epoch = epoch

    def ask(self, tick, observation, *, replan=False):
        action = self.rng.uniform(self.feature.low, self.feature.high).astype(np.float32)
        self.answer = Answer(self.epoch, tick, action[None], 0.0)
        self.frames.append((observation, action))
        return True

    def watch(self, tick, observation):
        self.frames.append((observation, None))
        return True

    def poll(self):
        answer, self.answer = self.answer, None
        return answer


class Episode:
    """Runs the control loop on the plant; a person leads for some control steps."""

    def __init__(self, folder, *, seeds, success, led=range(10, 15), task="lift"):
        plant = make_plant(task=task, robot="panda", period=1 / RATE)
        self.space = make_action_space("ee_delta", robot=plant.robot, dt=1 / FPS)
        features = {
            "observation.state": state_feature(plant.robot),
            "observation.environment_state": poses_feature(plant.objects),
            "action": self.space.feature,
        }
        self.schema = Schema(features, FPS)
        self.periods, self.led, self.frames = 0, led, []
        self.about = About(self.schema, "panda", "random", {"bundle": "random"}, "lift the cube")
        self.recorder = Recorder(RecordSettings(mode="all", folder=str(folder)), self.about, clock=lambda: self.now)
        self.recorder.start()
        for seed, verdict in zip(seeds, success, strict=True):
            self._run(plant, seed)
            if verdict is not None:
                assert self.recorder.judge(verdict) == ""
        self.recorder.close()

    @property
    def now(self):
        return self.periods / RATE

    def _run(self, plant, seed):
        plant.reset(seed)
        arm, policy = Arm(plant, self.schema), Policy(self.space.feature, seed)
        person = still(self.space.feature, 0.05)
        person[:2] = 0.01, -0.005

        def takeover(held):
            return person if len(policy.frames) - 1 in self.led else None

        controller = Controller(
            schema=self.schema,
            action_space=self.space,
            robot=arm,
            inference=Led(policy, Person(takeover, self.space.feature), self.schema),
            settings=Settings(rate=RATE),
            at_once=True,
            observer=self.recorder,
            clock=lambda: self.now,
        )

        def period():
            controller.period(self.now)
            plant.step(arm.command)
            self.periods += 1

        period()
        controller.request(Event.START)
        while len(policy.frames) < STEPS:
            period()
        period()
        stopped = controller.request(Event.STOP)
        while not stopped.done():
            period()
        self.frames.append([self._expected(k, *frame, person) for k, frame in enumerate(policy.frames)])

    def _expected(self, k, observation, action, person):
        """What was executed: by the person until the end of the step in which nobody leads any more."""
        if k in self.led:
            return observation, person, True
        return observation, still(self.space.feature, person[-1]) if action is None else action, False


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded")
    return folder, Episode(folder / "recordings", seeds=(3, 4, 5), success=(True, False, None))


@pytest.fixture(scope="module")
def dataset(recorded):
    folder, _ = recorded
    assert main(["data", "import", f"source={folder / 'recordings'}", f"out={folder / 'dataset'}"]) == 0
    return folder / "dataset"


def test_every_value_comes_back(recorded, dataset):
    _, episode = recorded
    data = EpisodeDataset.load(dataset)
    frames = [frame for frames in episode.frames for frame in frames]
    assert data.num_episodes == 3
    assert data.num_frames == len(frames) == 3 * STEPS
    for key in episode.schema.observation_keys:
        np.testing.assert_array_equal(data.channels[key], np.stack([observation[key] for observation, *_ in frames]))
    person = np.array([led for *_, led in frames])
    assert person.sum() == 3 * len(episode.led)
    np.testing.assert_array_equal(data.channels["intervention"][:, 0], person)
    np.testing.assert_array_equal(data.channels["action"], np.stack([action for _, action, _ in frames]))
    assert data.schema.select([*episode.schema]) == episode.schema


def test_the_dataset_says_where_it_comes_from_and_how_it_went(recorded, dataset):
    data = EpisodeDataset.load(dataset)
    assert data.columns["success"] == [True, False, False]
    assert data.columns["verdict"] == ["success", "failure", "unsaid"]
    assert data.columns["bundle"] == ["random"] * 3
    assert len(set(data.columns["source"])) == 3
    assert set(data.tasks) == {"lift the cube"}
    assert not [finding for finding in check_dataset(dataset) if not finding.hint]


def test_lerobot_opens_it(recorded, dataset):
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    _, episode = recorded
    theirs = LeRobotDataset("local/recorded", root=dataset)
    assert (theirs.num_episodes, theirs.num_frames) == (3, 3 * STEPS)
    for i in (0, 12, 3 * STEPS - 1):
        observation, action, led = episode.frames[i // STEPS][i % STEPS]
        item = theirs[i]
        np.testing.assert_array_equal(item["observation.state"].numpy(), observation["observation.state"])
        np.testing.assert_array_equal(item["action"].numpy(), action)
        assert bool(item["intervention"]) == led
        assert item["task"] == "lift the cube"


@pytest.mark.slow
def test_a_policy_is_trained_on_it(dataset, tmp_path):
    words = [f"dataset={dataset}", f"out={tmp_path / 'policy'}", "policy=flow", "train.steps=3", "train.batch_size=8"]
    assert main(["train", *words]) == 0
    assert list(tmp_path.rglob("*.safetensors"))


def test_a_hold_cuts_an_episode(recorded, tmp_path):
    """Frames that are not evenly spaced are no episode."""
    from robolearn.data.importers.resample import SECOND, Rule, episodes

    times = np.array([0, 50, 100, 400, 450, 455, 600]) * SECOND // 1000
    rules = [Rule("asof", 0.025, "cut")]
    assert [places[:, 0].tolist() for places in episodes([times], rules, fps=20, frames=times)] == [
        [0, 1, 2],
        [3, 4, 5],
        [6],
    ]
