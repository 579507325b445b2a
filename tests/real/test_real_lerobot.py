"""An arm behind LeRobot's own `Robot` class, without hardware."""

import json
import os
import threading
import time
from math import radians

import numpy as np
import pytest
from bundle_factory import CAMERA, make_schema, write_bundle
from hypothesis import given
from hypothesis import strategies as st

from robolearn.errors import UserError
from robolearn.real.lerobot_controller import main, make_arm, parser, run
from robolearn.real.lerobot_robot import Calibration, LeRobotArm
from robolearn.sim.robots import get_robot

ROBOT = get_robot("so101")
MOTORS = (*ROBOT.joint_names, "gripper")
PIXELS = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)


def until(done):
    limit = time.monotonic() + 30
    while not (value := done()):
        assert time.monotonic() < limit
        time.sleep(0.001)
    return value


@pytest.fixture(scope="module")
def kind():
    """A subclass of LeRobot's robot that is where it was told to be."""
    from lerobot.robots import Robot, RobotConfig

    class FakeArm(Robot):
        config_class, name = RobotConfig, "fake_arm"

        def __init__(self, config, robot=ROBOT, gripper=50.0):
            super().__init__(config)
            self.names = (*robot.joint_names, "gripper")
            home = dict(zip(robot.joint_names, np.degrees(robot.home), strict=True)) | {"gripper": gripper}
            self.now = {f"{name}.pos": float(value) for name, value in home.items()}
            self.sent, self.broken, self.cameras = [], False, {"wrist": PIXELS}
            self.busy, self.threads, self.connected = threading.Lock(), set(), False

        @property
        def observation_features(self):
            return dict.fromkeys(self.now, float) | {name: p.shape for name, p in self.cameras.items()}

        @property
        def action_features(self):
            return dict.fromkeys(self.now, float)

        is_calibrated = True

        @property
        def is_connected(self):
            return self.connected

        def connect(self, calibrate=True):
            self.connected = True

        def disconnect(self):
            self.connected = False

        def calibrate(self):
            raise AssertionError("nobody is there to move it")

        def configure(self):
            pass

        def _exchange(self):
            assert self.busy.acquire(blocking=False), "the bus takes one at a time"
            self.threads.add(threading.current_thread().name)
            self.busy.release()
            if self.broken:
                raise ConnectionError("incorrect status packet")

        def get_observation(self):
            self._exchange()
            return {**self.now, **self.cameras}

        def send_action(self, action):
            self._exchange()
            self.sent.append(action)
            self.now = dict(action)
            return action

    return FakeArm


@pytest.fixture
def fake(kind, tmp_path):
    from dataclasses import dataclass

    from lerobot.robots import RobotConfig

    @dataclass
    class FakeConfig(RobotConfig):
        pass

    return lambda **options: kind(FakeConfig(calibration_dir=tmp_path), **options)


@pytest.fixture
def arm(fake):
    return fake()


@pytest.fixture
def robot(arm):
    robot = LeRobotArm(arm, schema=make_schema(ROBOT, objects=(), camera=(12, 16)), robot=ROBOT)
    yield robot
    arm.broken = False
    robot.close()


def test_an_observation_has_our_units_and_the_policy_s_pictures(robot):
    until(robot.read)
    observation, age = robot.read()
    np.testing.assert_allclose(observation["observation.state"][:5], ROBOT.home, atol=1e-6)
    assert observation["observation.state"][5] == pytest.approx(0.5 * ROBOT.gripper_width)
    assert observation[CAMERA].shape == (12, 16, 3)
    assert observation[CAMERA].dtype == np.uint8
    assert 0.0 <= age < 30.0
    robot.schema.select(tuple(observation)).validate(observation)


def test_commands_have_the_motors_units_and_the_last_one_arrives(arm, robot):
    until(robot.read)
    path = np.linspace((*ROBOT.home, 0.0), (*(np.array(ROBOT.home) + 0.3), 0.035), 50)
    for position in path:
        robot.write(position)
    robot.close()
    last = arm.sent[-1]
    np.testing.assert_allclose([last[f"{name}.pos"] for name in ROBOT.joint_names], np.degrees(path[-1, :-1]))
    assert last["gripper.pos"] == pytest.approx(50.0)
    assert arm.threads == {"lerobot"}


def test_a_bus_that_fails_makes_the_observation_old_and_is_tried_again(arm, robot):
    until(robot.read)
    arm.broken = True
    until(lambda: robot.failure)
    old = robot.age()
    robot.write(np.array((*ROBOT.home, 0.01)))
    until(lambda: robot.age() > old + 0.02)
    assert "status packet" in robot.failure
    arm.broken = False
    until(lambda: arm.sent and robot.age() < old + 0.02 and not robot.failure)


def test_a_position_that_is_not_finite_counts_as_not_received(fake):
    arm = fake()
    arm.now["gripper.pos"] = float("nan")
    robot = LeRobotArm(arm, schema=make_schema(ROBOT, objects=()), robot=ROBOT)
    until(lambda: robot.failure)
    assert robot.read() is None
    robot.close()


@pytest.mark.parametrize(
    ("schema", "spoil", "message"),
    [
        ({"objects": ("cube",)}, lambda arm: None, r"environment_state.*nothing that an arm of LeRobot gives"),
        ({"objects": (), "camera": (4, 4)}, lambda arm: arm.cameras.clear(), "needs a camera 'wrist'"),
        ({"objects": ()}, lambda arm: arm.now.pop("wrist_roll.pos"), "no motor 'wrist_roll'"),
    ],
)
def test_an_arm_that_lacks_something_is_refused(fake, schema, spoil, message):
    arm = fake()
    spoil(arm)
    with pytest.raises(UserError, match=message):
        LeRobotArm(arm, schema=make_schema(ROBOT, **schema), robot=ROBOT)


@given(st.lists(st.floats(-3, 3), min_size=6, max_size=6), st.floats(0.01, 2.0), st.floats(-1, 1))
def test_units_go_both_ways(position, scale, offset):
    calibration = Calibration.of(ROBOT)
    motors = [type(motor)(motor.name, scale * motor.scale, offset) for motor in calibration.motors]
    calibration = Calibration(tuple(motors))
    back = calibration.to_robot(calibration.to_motors(np.array(position)))
    np.testing.assert_allclose(back, position, atol=1e-9)


def test_a_calibration_file_changes_what_it_names(tmp_path):
    file = tmp_path / "c.json"
    file.write_text(json.dumps({"elbow_flex": {"scale": -radians(1), "offset": 0.1}, "gripper_width": {"name": "jaw"}}))
    calibration = Calibration.load(file, ROBOT)
    usual = Calibration.of(ROBOT)
    assert calibration.motors[2].scale == -radians(1)
    assert calibration.motors[2].name == "elbow_flex"
    assert calibration.motors[-1].name == "jaw"
    assert calibration.motors[:2] == usual.motors[:2]
    for text in ('{"knee": {}}', '{"elbow_flex": {"gain": 1}}', '{"elbow_flex": {"scale": 0}}', "[", "[1]"):
        file.write_text(text)
        with pytest.raises(UserError):
            Calibration.load(file, ROBOT)


def panda(fake):
    """An arm of LeRobot's that the toy bundles are for."""
    arm = fake(robot=get_robot("panda"), gripper=75.0)
    arm.cameras.clear()
    return arm


def options(bundle, *words):
    return parser().parse_args(["--bundle", str(bundle), *words])


def test_a_bundle_moves_such_an_arm_and_stops_it(fake, tmp_path):
    bundle, arm = write_bundle(tmp_path / "b", action=(0.4, 0.0, 0.0, 0.0, 0.5), objects=()), panda(fake)
    statistics, asked = tmp_path / "loop.json", []
    words = ("--seconds", "1", "--stale-after", "0.5", "--chunk-timeout", "5", "--statistics", str(statistics))
    status = run(arm, options(bundle, *words), threading.Event(), confirm=lambda: asked.append(len(arm.sent)))
    assert (status, asked) == (0, [0])
    joints = get_robot("panda").joint_names
    path = np.radians([[action[f"{name}.pos"] for name in joints] for action in arm.sent])
    tools = get_robot("panda").chain.forward(path).tool_pos
    assert tools[-1, 0] > tools[0, 0] + 0.01
    np.testing.assert_allclose(path[0], get_robot("panda").home, atol=1e-3)
    assert json.loads(statistics.read_text())["periods"] > 0


def test_chunks_are_executed_as_asked_and_all_is_recorded(fake, tmp_path):
    pytest.importorskip("rosbags", reason="the extra 'recordings' is not installed")
    bundle, arm = write_bundle(tmp_path / "b", action=(0.4, 0.0, 0.0, 0.0, 0.5), objects=()), panda(fake)
    statistics, folder = tmp_path / "loop.json", tmp_path / "recordings"
    words = ("--seconds", "2", "--stale-after", "0.5", "--chunk-timeout", "5", "--statistics", str(statistics))
    words += ("--execution", "blending", "--execution-horizon", "1", "--inference-delay", "0.06")
    words += ("--record", "all", "--record-folder", str(folder))
    assert run(arm, options(bundle, *words), threading.Event(), confirm=None) == 0
    loop = json.loads(statistics.read_text())
    assert loop["recorder_dropped"] == 0
    (bag,) = (path.parent for path in folder.glob("*/metadata.yaml"))
    data = read_recording(bag)
    assert abs(len(data) - loop["ticks"]) <= 1
    moves = data[:, 0] > 0
    np.testing.assert_allclose(data[moves, 0], 0.4 * 0.02, atol=1e-6)
    assert not moves[0]  # there was no plan yet
    assert moves.sum() > len(moves) / 2


def read_recording(bag):
    """Actions [n, action_dim] of the control steps."""
    from mcap.reader import make_reader
    from mcap_ros2.decoder import DecoderFactory

    (file,) = bag.glob("*.mcap")
    with file.open("rb") as stream:
        reader = make_reader(stream, decoder_factories=[DecoderFactory()])
        topic = "/policy_controller/frame/action"
        return np.array([decoded.data for *_, decoded in reader.iter_decoded_messages(topics=[topic])])


def test_execution_that_does_not_suit_the_bundle_is_refused(fake, tmp_path):
    bundle, arm = write_bundle(tmp_path / "b", objects=()), panda(fake)
    with pytest.raises(UserError, match="execution_horizon below"):
        run(arm, options(bundle, "--execution", "rtc", "--execution-horizon", "4"), threading.Event(), confirm=None)
    assert not arm.sent


def test_a_fault_ends_the_run_with_its_reason(fake, tmp_path, capsys):
    bundle, arm = write_bundle(tmp_path / "b", action=(np.nan, 0, 0, 0, 0), objects=()), panda(fake)
    words = ("--stale-after", "0.5", "--chunk-timeout", "5")
    assert run(arm, options(bundle, *words), threading.Event(), confirm=None) == 1
    assert "not finite" in capsys.readouterr().err


def test_a_garbled_reading_is_a_fault(fake, tmp_path, capsys):
    bundle, arm = write_bundle(tmp_path / "b", action=np.zeros(5), objects=()), panda(fake)

    def garble(action, send=arm.send_action):
        if len(arm.sent) == 50:
            arm.now["panda_joint4.pos"] += 30.0  # degrees
            return action
        return send(action)

    arm.send_action = garble
    words = ("--seconds", "20", "--stale-after", "0.5", "--chunk-timeout", "5")
    assert run(arm, options(bundle, *words), threading.Event(), confirm=None) == 1
    assert "joint 'panda_joint4' jumped by +0.52 rad" in capsys.readouterr().err


def test_mistakes_are_told_in_a_sentence(tmp_path, capsys):
    bundle = write_bundle(tmp_path / "b", objects=())
    with pytest.raises(UserError, match="did you mean 'so101_follower'"):
        make_arm(options(bundle, "--robot-type", "so101_folower"))
    config = tmp_path / "robot.json"
    config.write_text('{"type": "so101_follower", "colour": "red"}')
    assert main(["--bundle", str(bundle), "--robot-config", str(config)]) == 2
    assert "cannot make this robot" in capsys.readouterr().err
    config.write_text("[")
    assert main(["--bundle", str(bundle), "--robot-config", str(config)]) == 2
    assert "no robot configuration" in capsys.readouterr().err


def test_nothing_moves_where_nobody_can_agree(fake, tmp_path, monkeypatch, capsys):
    bundle, arm = write_bundle(tmp_path / "b", action=(0.4, 0.0, 0.0, 0.0, 0.5), objects=()), panda(fake)
    monkeypatch.setattr("robolearn.real.lerobot_controller.make_arm", lambda options: arm)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with open(os.devnull) as nobody:
        monkeypatch.setattr("sys.stdin", nobody)
        assert main(["--bundle", str(bundle), "--stale-after", "0.5"]) == 2
    assert "nobody can press Enter" in capsys.readouterr().err
    assert not arm.sent
    assert not arm.connected
