"""Recording and takeover in the real control node: real rclpy, real processes, a kinematic arm."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("rosbags", reason="the extra 'recordings' is not installed")

from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from ros_bystander import Bystander, until
from test_ros_deployment import FORWARD, require_within_limits, write_bundle

from robolearn.cli import main
from robolearn.data.dataset import EpisodeDataset
from robolearn.real.record_settings import RecordSettings
from robolearn.real.ros2.episodes import Session, run_episodes
from robolearn.real.settings import Settings

pytestmark = [pytest.mark.ros, pytest.mark.alone]
BACK = (-0.02, 0.0, 0.0)  # m/s


@pytest.fixture
def session(domain, tmp_path):
    bundle = write_bundle(tmp_path / "bundle", action=0.1 * FORWARD)
    recording = RecordSettings(mode="all", folder=str(tmp_path / "recordings"), after_seconds=2.0)
    options = {"plant": "kinematic_plant", "task": "move", "robot": "panda", "domain": domain}
    settings = Settings(stale_after=0.5, chunk_timeout=5.0)
    with Session(bundle, out=Path(tmp_path), settings=settings, recording=recording, **options) as session:
        yield session


@pytest.fixture
def bystander(domain, session):
    made = Bystander(domain)
    yield made
    made.close()


def messages(bag):
    topics = {}
    (file,) = bag.glob("*.mcap")
    with file.open("rb") as stream:
        reader = make_reader(stream, decoder_factories=[DecoderFactory()])
        for _, channel, _, decoded in reader.iter_decoded_messages():
            topics.setdefault(channel.topic, []).append(decoded)
    return topics


def finished(tmp_path):
    return sorted(path.parent for path in (tmp_path / "recordings").glob("*/metadata.yaml"))


def test_a_person_takes_over_and_hands_back_and_all_is_recorded(session, bystander, tmp_path):
    from geometry_msgs.msg import TwistStamped
    from std_msgs.msg import Float64

    client = session._client
    client.reset(1)
    client.start()
    until(lambda: len(bystander.sent) > 60, "commands")
    gripper = bystander.node.create_publisher(Float64, "/policy_controller/intervention_gripper", 1)
    until(lambda: gripper.get_subscription_count() > 0, "the gripper's topic")
    twist = TwistStamped()
    twist.twist.linear.x = BACK[0]
    with bystander.taking_over(TwistStamped, "intervention_twist", twist, listeners=2):
        before = len(bystander.sent)
        gripper.publish(Float64(data=0.25))
        until(lambda: len(bystander.sent) > before + 200, "the person's commands")
    until(lambda: len(bystander.sent) > before + 400, "the policy's commands")
    assert client.call("stop") == ""
    assert client.call("failure") == ""
    assert json.loads(session._statistics.read_text())["takeovers"] == 1
    until(lambda: finished(tmp_path), "the end of the recording")
    (bag,) = finished(tmp_path)

    topics = messages(bag)
    labels = [message.data for message in topics["/policy_controller/frame/intervention"]]
    led = np.flatnonzero(labels)
    assert len(led) > 10
    assert (np.diff(led) == 1).all()
    actions = np.array([m.data for m in topics["/policy_controller/frame/action"]])
    np.testing.assert_allclose(actions[led[-1], :4], (BACK[0] / 20, 0, 0, 0), atol=1e-8)
    assert actions[led[-1], 4] == pytest.approx(0.02)
    assert topics["/joint_states"][0].name[0] == "panda_joint1"
    assert len(topics["/objects/cube/pose"]) > 10
    assert len(topics["/policy_controller/intervention_twist"]) > 10
    commands = np.array([message.data for message in topics["/policy_controller/commands"]])
    assert len(commands) > 300
    require_within_limits(commands)
    assert len(topics["/policy_controller/chunk"]) > 10
    events = [json.loads(message.data)["event"] for message in topics["/policy_controller/events"]]
    assert events.count("takeover") == events.count("handback") == 1

    out = tmp_path / "dataset"
    assert main(["data", "import", f"source={tmp_path / 'recordings'}", f"out={out}"]) == 0
    data = EpisodeDataset.load(out)
    assert data.columns["success"][-1] is False
    assert data.columns["verdict"][-1] == "failure"
    assert data.channels["intervention"].sum() == len(led)


def test_a_node_that_is_killed_leaves_its_recording(session, tmp_path):
    client, node = session._client, session._children[1].process
    client.reset(1)
    client.start()
    client._wait(lambda: client._news["elapsed"] > 0.5, "movement")
    os.kill(node.pid, signal.SIGKILL)
    until(lambda: finished(tmp_path), "the end of the recording")
    (bag,) = finished(tmp_path)
    assert len(messages(bag)["/policy_controller/frame/action"]) > 3


@pytest.mark.slow
def test_deployed_episodes_become_a_dataset_with_their_successes(domain, tmp_path):
    bundle = write_bundle(tmp_path / "bundle", action=FORWARD)
    recording = RecordSettings(mode="all", folder=str(tmp_path / "recordings"))
    result = run_episodes(
        bundle, seeds=[3, 4], out=tmp_path / "out", recording=recording, plant="kinematic_plant", domain_id=domain
    )
    out = tmp_path / "dataset"
    assert main(["data", "import", f"source={tmp_path / 'recordings'}", f"out={out}"]) == 0
    data = EpisodeDataset.load(out)
    assert [episode["success"] for episode in result["episodes"]] == data.columns["success"]
