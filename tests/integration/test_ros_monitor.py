"""A monitored arm in real processes: ~/progress is published, and a success ends the episode."""

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

from bundle_factory import write_bundle
from monitor_factory import RULES, add_monitor
from std_msgs.msg import Float64MultiArray
from test_ros_deployment import FORWARD, listen

from robolearn.monitoring import OUTCOMES, SUCCESS
from robolearn.real.ros2.domain import choose_domain
from robolearn.real.ros2.episodes import Session
from robolearn.real.ros2.monitoring import FIELDS
from robolearn.real.settings import Settings

pytestmark = [pytest.mark.ros, pytest.mark.alone]
FRAMES = 30  # of success until it is believed; the diagnostics come once in 20


def test_a_success_ends_the_episode_by_the_normal_stop(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=":")
    rules = replace(RULES, done_at=0.0, done_frames=FRAMES, stall_frames=(1000,))  # every frame counts as done
    bundle = add_monitor(write_bundle(tmp_path / "bundle", action=FORWARD), settings=rules)
    session = Session(
        bundle,
        out=tmp_path,
        settings=Settings(stale_after=0.1),
        plant="kinematic_plant",
        task="move",
        robot="panda",
        domain=choose_domain(),
    )
    session._commands["control node"][1]["monitor-action"] = "stop"
    with session:
        client, said = session.client, []
        _, states = listen(client)
        client.node.create_subscription(Float64MultiArray, "/policy_controller/progress", said.append, 100)
        for attempt in range(2):
            client.reset(1 + attempt)
            client.start()
            said.clear()
            client._wait(lambda: said and OUTCOMES[int(said[-1].data[4])] == SUCCESS, "a success")
            states.clear()
            client._wait(lambda: states and states[-1] == "ready", "the end of the episode")
            assert said[0].layout.dim[0].label.split(",") == list(FIELDS)
            steps = [message.data[0] for message in said]
            assert steps == sorted(set(steps))
            assert {message.data[4] for message in said[:5]} == {0.0}
