"""Real rclpy, real processes, a kinematic arm: what the unit tests cannot see."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")

from bundle_factory import write_bundle

from robolearn.errors import UserError
from robolearn.execution import Execution
from robolearn.real.ros2 import episodes
from robolearn.real.ros2.domain import choose_domain, is_busy
from robolearn.real.ros2.episodes import Session, run_episodes
from robolearn.real.ros2.processes import PREFIXES
from robolearn.real.safety import Limits
from robolearn.real.settings import Settings
from robolearn.sim.robots import get_robot

pytestmark = [pytest.mark.ros, pytest.mark.alone]
HERE = Path(__file__).parent
FORWARD = np.array((0.4, 0.2, 0.0, 0.0, 0.5))


@pytest.fixture(autouse=True)
def plant_on_path(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(HERE), prepend=os.pathsep)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_bundle(tmp_path_factory.mktemp("deployment") / "bundle", action=FORWARD)


@pytest.fixture
def session(bundle, tmp_path):
    with Session(
        bundle,
        out=tmp_path,
        settings=Settings(stale_after=0.1),
        plant="kinematic_plant",
        task="move",
        robot="panda",
        domain=choose_domain(),
    ) as session:
        yield session


def leftovers():
    return {path.name for prefix in PREFIXES for path in Path("/dev/shm").glob(f"*{prefix}*")}


def test_episodes_run_are_kept_and_leave_nothing_behind(bundle, tmp_path, monkeypatch):
    before, seen = leftovers(), []
    result = run_episodes(bundle, seeds=[3, 4], out=tmp_path, plant="kinematic_plant", progress=seen.append)
    assert [episode["seed"] for episode in seen] == [3, 4]
    assert result["successes"] == 2
    assert result["loop"]["periods"] > 20
    assert result["loop"]["latency_ms"]["p50"] > 0
    assert leftovers() <= before
    with np.load(tmp_path / "trajectories" / "episode_3.npz", allow_pickle=False) as trajectory:
        assert trajectory["pose"].shape[0] == trajectory["time"].shape[0] > 1
        assert trajectory["objects.cube"].shape[1] == 7
        assert trajectory["success"][-1]

    # the same call resumes: with every episode done nothing is started
    monkeypatch.setattr(episodes, "Session", None)
    again = run_episodes(bundle, seeds=[3, 4], out=tmp_path, plant="kinematic_plant")
    assert again == result


@pytest.mark.parametrize("mode", ["rtc", "ensembling", "blending"])
def test_late_inference_moves_the_arm_as_well(bundle, tmp_path, mode):
    # 60 ms: later than a control step of 50 ms, and than any answer may be
    late = Execution(execution=mode, execution_horizon=1, inference_delay=0.06)
    result = run_episodes(
        bundle, seeds=[3], out=tmp_path, settings=Settings(stale_after=0.2), execution=late, plant="kinematic_plant"
    )
    assert result["successes"] == 1
    loop = result["loop"]
    # observations were answered while chunks were inferred: on a machine with time to spare all but the first, before
    # which there was no plan; in turn none would be
    assert loop["late_chunks"] < loop["ticks"]
    assert len(loop["smoothness"]["rms_jerk"]) == get_robot("panda").n_joints
    assert loop["smoothness"]["boundary_jump"]["count"] > 0


def test_execution_that_does_not_suit_the_bundle_is_refused_at_once(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(episodes, "Session", None)
    with pytest.raises(UserError, match="execution_horizon below"):
        run_episodes(bundle, seeds=[0], out=tmp_path, execution=Execution(execution="rtc", execution_horizon=4))


def test_a_stopped_arm_leads_to_hold_within_limits_and_going_on(session):
    client, arm = session._client, session._children[0].process
    sent, states = listen(client)
    client.reset(1)
    client.start()
    client._wait(lambda: len(sent) > 60, "commands")
    os.kill(arm.pid, signal.SIGSTOP)
    try:
        client._wait(lambda: states and states[-1] == "hold", "the hold")
        client._wait(lambda: np.array_equal(sent[-1], sent[-2]), "the arm to come to rest")
        held = len(sent)
    finally:
        os.kill(arm.pid, signal.SIGCONT)
    require_within_limits(np.stack(sent))
    client._wait(lambda: states[-1] == "active", "the arm to go on")
    client._wait(lambda: len(sent) > held + 20, "commands again")
    assert client.call("stop") == ""


def listen(client):
    from diagnostic_msgs.msg import DiagnosticArray
    from std_msgs.msg import Float64MultiArray

    sent, states = [], []

    def on_diagnostics(message):
        states.append(next(item.value for item in message.status[0].values if item.key == "state"))

    client._node.create_subscription(
        Float64MultiArray, "/policy_controller/commands", lambda message: sent.append(np.array(message.data)), 1000
    )
    client._node.create_subscription(DiagnosticArray, "/diagnostics", on_diagnostics, 10)
    return sent, states


def require_within_limits(path):
    limits = Limits.of(get_robot("panda"), period=1 / 250)
    velocity = np.diff(path, axis=0) * 250
    assert (np.abs(velocity) <= limits.velocity + 1e-6).all()
    assert (np.abs(np.diff(velocity, axis=0)) * 250 <= limits.acceleration * (1 + 1e-6) + 1e-6).all()


def test_a_bundle_for_another_robot_is_refused_by_channel(tmp_path):
    other = write_bundle(tmp_path / "bundle", objects=("cube", "ball"))
    with pytest.raises(UserError, match=r"observation\.environment_state.*'ball'"):
        run_episodes(other, seeds=[0], out=tmp_path / "out", plant="kinematic_plant")


def test_a_busy_domain_is_refused(bundle, tmp_path, session):
    busy = session._domain
    assert is_busy(busy)
    with pytest.raises(UserError, match="ROS domain busy"):
        run_episodes(bundle, seeds=[0], out=tmp_path / "out", plant="kinematic_plant", domain_id=busy)
    assert choose_domain() != busy


def test_no_robot_and_no_bundle_end_with_a_sentence(bundle):
    command = [sys.executable, "-m", "robolearn.real.ros2.policy_controller"]
    environment = {**os.environ, "ROS_DOMAIN_ID": str(choose_domain())}
    for words, sentence in (([], "no bundle"), (["--bundle", str(bundle), "--wait", "0.1"], "/joint_states")):
        result = subprocess.run([*command, *words], env=environment, capture_output=True, text=True, check=False)
        assert result.returncode == 2
        assert sentence in result.stderr
        assert "Traceback" not in result.stderr


def test_a_robot_description_stands_in_for_the_topics(bundle, tmp_path):
    description = tmp_path / "robot.json"
    description.write_text(json.dumps({"joints": ["elbow"], "objects": []}))
    command = [sys.executable, "-m", "robolearn.real.ros2.policy_controller", "--bundle", str(bundle)]
    environment = {**os.environ, "ROS_DOMAIN_ID": str(choose_domain())}
    result = subprocess.run(
        [*command, "--robot", str(description)], env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert "observation.state" in result.stderr
    assert "panda_joint1" in result.stderr


def test_the_node_ends_in_order_and_writes_its_statistics(session):
    client, node = session._client, session._children[1].process
    client.reset(1)
    client.start()
    client._wait(lambda: client._news["elapsed"] > 0.2, "movement")
    node.send_signal(signal.SIGINT)
    node.wait(20)
    assert node.returncode == 0
    record = json.loads(session._statistics.read_text())
    assert record["periods"] > 0
    assert set(record["summary"]["lateness_ms"]) == {"p50", "p99", "max"}
    with pytest.raises(UserError, match="control node ended"):
        client._wait(lambda: False, "nothing")
