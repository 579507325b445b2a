"""Recordings by the real process, read by `rosbags` and by `mcap-ros2-support`, and what kills leave of them."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import yaml
from bundle_factory import make_schema

pytest.importorskip("rosbags", reason="the extra 'recordings' is not installed")

from mcap.exceptions import EndOfFile
from mcap.reader import make_reader
from mcap.stream_reader import StreamReader
from mcap_ros2.decoder import DecoderFactory
from PIL import Image
from rosbags.highlevel import AnyReader

from robolearn.data.importers.rosbag import read_bags
from robolearn.data.importers.unfinished import finish
from robolearn.errors import UserError
from robolearn.real.bag_messages import IMAGE, OBSERVATION, Message, Messages
from robolearn.real.messages import pack
from robolearn.real.record_settings import RecordSettings
from robolearn.real.recorder import Recorder
from robolearn.real.recording import About, Recording
from robolearn.real.shared_ring import Entry
from robolearn.real.state_machine import State
from robolearn.schema import Feature, Schema
from robolearn.sim.robots import get_robot

SCHEMA = make_schema(get_robot("panda"))
ABOUT = About(SCHEMA, "panda", "lifting", {"bundle": "lifting"}, "lift the cube")
EPOCH = 1_700_000_000.0
PATIENCE = 30.0


def wait_for(condition):
    limit = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < limit
        time.sleep(0.01)
    return value


def observation(k, schema=SCHEMA):
    rng = np.random.default_rng(k)
    return {key: rng.normal(size=schema[key].shape).astype(np.float32) for key in schema.observation_keys}


def action(k):
    return np.random.default_rng(k).uniform(-0.01, 0.01, 5).astype(np.float32).clip(SCHEMA.action.low)


class Virtual:
    """Says what a control loop would say, in virtual time."""

    def __init__(self, recorder):
        self.recorder, self.now = recorder, 10.0

    def activation(self, steps, *, person=(), stop=True):
        self.recorder.changed(State.READY, State.ACTIVE, "started")
        for k in range(steps):
            self.step(k, person=k in person)
        if stop:
            self.recorder.changed(State.ACTIVE, State.READY, "stopped")

    def step(self, k, *, person=False):
        begin = self.now
        self.recorder.observed(begin, observation(k))
        self.recorder.planned(begin, np.stack([action(k), action(k + 1)]))
        for _ in range(5):
            self.recorder.commanded(np.full(8, float(k)))
            self.now += 0.01
        self.recorder.executed(begin, action(k), person=person)


@pytest.fixture
def make(tmp_path):
    made = []

    def start(mode="all", **options):
        virtual = Virtual(None)
        settings = RecordSettings(mode=mode, folder=str(tmp_path / "bags"), **options)
        recorder = Recorder(settings, ABOUT, clock=lambda: virtual.now, wall=lambda: EPOCH + virtual.now)
        recorder.start()
        virtual.recorder = recorder
        made.append(recorder)
        return recorder, virtual

    yield start
    for recorder in made:
        recorder.close()


def bags(tmp_path):
    return sorted((tmp_path / "bags").iterdir())


def by_rosbags(bag):
    topics = {}
    with AnyReader([bag]) as reader:
        for connection, stamp, raw in reader.messages():
            topics.setdefault(connection.topic, []).append((stamp, reader.deserialize(raw, connection.msgtype)))
    return topics


def by_mcap(bag):
    topics = {}
    (file,) = bag.glob("*.mcap")
    with file.open("rb") as stream:
        reader = make_reader(stream, decoder_factories=[DecoderFactory()])
        for _, channel, message, decoded in reader.iter_decoded_messages():
            topics.setdefault(channel.topic, []).append((message.log_time, decoded))
    return topics


@pytest.mark.parametrize("read", [by_rosbags, by_mcap])
def test_both_readers_find_what_was_said(make, tmp_path, read):
    recorder, virtual = make()
    recorder.instruct("take it up")
    virtual.activation(6, person=(3, 4))
    recorder.judge(True)
    recorder.close()
    (bag,) = bags(tmp_path)
    topics = read(bag)
    base = "/policy_controller/"
    for k in range(6):
        at = round((EPOCH + 10 + 0.05 * k) * 1e9)
        for channel, values in {**observation(k), "action": action(k)}.items():
            stamp, message = topics[f"{base}frame/{channel.replace('.', '/')}"][k]
            assert abs(stamp - at) < 1000  # ns: floats of the epoch
            np.testing.assert_array_equal(np.array(message.data, np.float32), values)
    assert [m.data for _, m in topics[f"{base}frame/intervention"]] == [False, False, False, True, True, False]
    assert len(topics[f"{base}commands"]) == 30
    np.testing.assert_array_equal(topics[f"{base}commands"][-1][1].data, np.full(8, 5.0))
    _, chunk = topics[f"{base}chunk"][2]
    assert list(chunk.joint_names) == list(SCHEMA.action.names)
    np.testing.assert_array_equal(np.array(chunk.points[1].positions, np.float32), action(3))
    assert (chunk.points[1].time_from_start.sec, chunk.points[1].time_from_start.nanosec) == (0, 50_000_000)
    events = [json.loads(m.data) for _, m in topics[f"{base}events"]]
    assert [e["event"] for e in events] == ["state", "takeover", "handback", "state"]
    assert events[0] == {"event": "state", "before": "ready", "after": "active", "reason": "started"}
    assert [m.data for _, m in topics[f"{base}verdict"]] == [True]


def test_the_metadata_say_where_it_comes_from_and_a_contract_lies_beside(make, tmp_path):
    recorder, virtual = make()
    recorder.instruct("take it up")
    virtual.activation(2)
    recorder.close()
    (bag,) = bags(tmp_path)
    assert bag.name.endswith("Z_lifting")
    metadata = yaml.safe_load((bag / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert metadata["custom_data"] == {"bundle": "lifting", "instruction": "take it up"}
    assert (metadata["storage_identifier"], metadata["version"]) == ("mcap", 9)
    contract = yaml.safe_load((bag / "contract.yaml").read_text())
    assert (contract["task"], contract["robot"], contract["fps"]) == ("take it up", "panda", 20)
    assert contract["channels"]["observation.state"]["names"] == list(SCHEMA["observation.state"].names)
    assert recorder.statistics()["recordings"] == 1
    assert recorder.statistics()["recorder_dropped"] == 0


def test_each_activation_is_a_recording(make, tmp_path):
    recorder, virtual = make()
    for _ in range(3):
        virtual.activation(2)
    recorder.close()
    assert [len(by_rosbags(bag)["/policy_controller/commands"]) for bag in bags(tmp_path)] == [10, 10, 10]


def tasks(tmp_path):
    """Instruction and number of control steps of each recording."""
    found = []
    for bag in bags(tmp_path):
        task = yaml.safe_load((bag / "contract.yaml").read_text())["task"]
        found.append((task, len(by_rosbags(bag).get("/policy_controller/frame/action", []))))
    return found


def test_another_instruction_is_another_recording(make, tmp_path):
    recorder, virtual = make()
    recorder.instruct("take it up")
    virtual.activation(3, stop=False)
    recorder.instruct("take it up")
    virtual.step(0)
    recorder.instruct("put it down")  # at once; the control step before it is over
    virtual.step(1)
    virtual.step(2)
    recorder.changed(State.ACTIVE, State.READY, "stopped")
    recorder.instruct("wait")  # for the next activation
    recorder.judge(True)
    virtual.activation(1)
    recorder.close()
    assert tasks(tmp_path) == [("take it up", 4), ("put it down", 2), ("wait", 1)]
    assert "/policy_controller/verdict" in by_rosbags(bags(tmp_path)[1])


def test_an_incident_s_recording_has_one_instruction(make, tmp_path):
    recorder, virtual = make("incidents", ring_seconds=3600)
    virtual.activation(3)
    recorder.instruct("take it up")
    recorder.judge(False)  # of what was done under the instruction before
    virtual.activation(2)
    recorder.close()
    assert tasks(tmp_path) == [("lift the cube", 3), ("take it up", 2)]


def test_what_the_ring_holds_has_one_instruction(make, tmp_path):
    recorder, virtual = make("incidents", ring_seconds=3600)
    virtual.activation(3)
    recorder.instruct("take it up")
    virtual.activation(2)
    recorder.judge(False)
    recorder.close()
    assert tasks(tmp_path) == [("take it up", 2)]


def test_a_recording_in_parts_is_one_episode(make, tmp_path):
    recorder, virtual = make(megabytes=0.001)
    virtual.activation(20)
    assert recorder.judge(True) == ""
    recorder.close()
    assert len(bags(tmp_path)) > 10
    ((episode,),) = read_bags(tmp_path / "bags", None, task=None).episodes
    np.testing.assert_array_equal(episode.frames["action"], [action(k) for k in range(20)])
    assert episode.columns["verdict"] == "success"


@pytest.mark.parametrize("incident", ["hold", "person", "failure"])
def test_incidents_alone(make, tmp_path, incident):
    recorder, virtual = make("incidents", ring_seconds=3600)
    virtual.activation(3)
    if incident == "hold":
        recorder.changed(State.ACTIVE, State.HOLD, "the observation is old")
    elif incident == "person":
        virtual.activation(1, person=(0,))
    else:
        recorder.judge(False)
    recorder.close()
    (bag,) = bags(tmp_path)
    assert len(by_rosbags(bag)["/policy_controller/frame/action"]) >= 3


def test_a_verdict_that_is_lost_is_told(make):
    recorder, virtual = make(after_seconds=2.0)
    assert recorder.judge(True) == "nothing was recorded"
    virtual.activation(2)
    virtual.now += 1.9
    assert recorder.judge(True) == ""
    virtual.now += 1.1
    assert recorder.judge(False) == "the recording ended 1.0 s ago"
    virtual.activation(2, stop=False)
    virtual.now += 100
    assert recorder.judge(True) == ""
    os.kill(recorder._process.pid, signal.SIGTERM)
    recorder._process.join(PATIENCE)
    assert recorder.judge(True) == "the recorder ended: the recorder's process ended"


@pytest.mark.parametrize("incident", ["hold", "person", "failure"])
def test_success_is_recorded_only_around_incidents(make, incident):
    recorder, virtual = make("incidents", after_seconds=2.0)
    virtual.activation(3)
    assert recorder.judge(True) == "nothing was recorded"
    if incident == "hold":
        recorder.changed(State.ACTIVE, State.HOLD, "the observation is old")
    elif incident == "person":
        virtual.activation(1, person=(0,))
    else:
        assert recorder.judge(False) == ""
    assert recorder.judge(True) == ""
    virtual.now += 2.5
    assert "the recording ended" in recorder.judge(True)


def test_nothing_happened_nothing_is_recorded(make, tmp_path):
    recorder, virtual = make("incidents")
    virtual.activation(3)
    recorder.judge(True)
    recorder.close()
    assert bags(tmp_path) == []


def test_what_was_saved_before_the_recorder_was_killed_is_read(make, tmp_path):
    recorder, virtual = make()
    virtual.activation(4, stop=False)
    wait_for(lambda: recorder.statistics().get("recorded_messages"))
    os.kill(recorder._process.pid, signal.SIGKILL)
    wait_for(lambda: "recording_failed" in recorder.statistics())
    virtual.activation(4)  # goes on as if nothing had happened
    (bag,) = bags(tmp_path)
    assert not (bag / "metadata.yaml").exists()
    (file,) = bag.glob("*.mcap")
    with file.open("rb") as stream:  # as a tool that knows nothing of us
        records = _until_broken(stream)
    assert sum(type(record).__name__ == "Message" for record in records) == recorder.report["recorded_messages"]
    finish(bag)
    for read in (by_rosbags, by_mcap):
        found = read(bag)
        assert sum(map(len, found.values())) == recorder.report["recorded_messages"]
        values = [np.array(m.data, np.float32) for _, m in found["/policy_controller/frame/action"]]
        np.testing.assert_array_equal(values, [action(k) for k in range(4)])


def _until_broken(stream):
    found = []
    with suppress(EndOfFile):
        found.extend(StreamReader(stream).records)
    return found


def test_a_node_that_is_killed_leaves_a_finished_recording(tmp_path):
    script = f"""
import sys, time
sys.path[:0] = {[str(folder) for folder in Path(__file__).parents[:2]]!r}
from test_recorder import ABOUT, RecordSettings, Recorder, Virtual, EPOCH
if __name__ == "__main__":
    virtual = Virtual(None)
    settings = RecordSettings(mode="all", folder={str(tmp_path / "bags")!r})
    recorder = Recorder(settings, ABOUT, clock=lambda: virtual.now, wall=lambda: EPOCH + virtual.now)
    recorder.start()
    virtual.recorder = recorder
    virtual.activation(4)
    print(recorder._process.pid, flush=True)
    time.sleep(600)
"""
    (tmp_path / "node.py").write_text(script)
    node = subprocess.Popen([sys.executable, str(tmp_path / "node.py")], stdout=subprocess.PIPE, text=True)
    int(node.stdout.readline())
    node.kill()
    node.wait()
    wait_for(lambda: (tmp_path / "bags").exists() and [b for b in bags(tmp_path) if (b / "metadata.yaml").exists()])
    (bag,) = bags(tmp_path)
    assert len(by_mcap(bag)["/policy_controller/frame/action"]) == 4


def test_a_terminated_recorder_finishes_its_recording(make, tmp_path):
    recorder, virtual = make()
    virtual.activation(4, stop=False)
    wait_for(lambda: recorder.statistics().get("recorded_messages"))
    os.kill(recorder._process.pid, signal.SIGTERM)
    recorder._process.join(PATIENCE)
    assert len(by_rosbags(bags(tmp_path)[0])["/policy_controller/frame/action"]) == 4


def test_a_recorder_that_is_stopped_costs_messages_and_no_time(make):
    recorder, virtual = make()
    os.kill(recorder._process.pid, signal.SIGSTOP)
    try:
        virtual.activation(800)
    finally:
        os.kill(recorder._process.pid, signal.SIGCONT)
    assert recorder.statistics()["recorder_dropped"] > 0


def test_a_folder_that_cannot_be_written_is_told_at_the_start(tmp_path):
    (tmp_path / "bags").write_text("a file")
    recorder = Recorder(RecordSettings(mode="all", folder=str(tmp_path / "bags")), ABOUT)
    with pytest.raises(UserError, match="cannot record into"):
        recorder.start()


def test_a_recording_that_cannot_be_written_ends_and_is_reported(make, tmp_path):
    recorder, virtual = make()
    shutil.rmtree(tmp_path / "bags")
    (tmp_path / "bags").write_text("in the way")
    virtual.activation(2)
    wait_for(lambda: "recording_failed" in recorder.statistics())
    virtual.activation(2)


def test_missing_rosbags_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "rosbags.rosbag2", None)
    with pytest.raises(UserError, match=r"robolearn\[recordings\]"):
        Recorder(RecordSettings(mode="all"), ABOUT)


def test_pictures_are_recorded_as_jpeg(tmp_path):
    axes = Feature("image", (24, 32, 3), ("height", "width", "channels"), ("1",) * 3, "observation")
    schema = Schema({"observation.images.wrist": axes, "action": SCHEMA.action}, 20)
    recording = Recording(
        RecordSettings(mode="all", folder=str(tmp_path / "bags")), About(schema, "panda", "b", {}, "lift")
    )
    picture = np.zeros((24, 32, 3), np.uint8)
    picture[:, :16, 0], picture[:, 16:, 2] = 200, 100
    recording._keeper.begin()
    data = pack(schema, {"observation.images.wrist": picture})
    recording.entry(Entry(OBSERVATION, 7, data))
    messages, types = Messages(schema), Messages(schema).store.types
    header = types["std_msgs/msg/Header"](types["builtin_interfaces/msg/Time"](5, 6), "camera")
    padded = np.concatenate((picture[..., ::-1].reshape(24, 96), np.zeros((24, 4), np.uint8)), axis=1)
    image = types[IMAGE](header, 24, 32, "bgr8", 0, 100, padded.reshape(-1))
    recording.message(Message("/camera", IMAGE, 7, bytes(messages.store.serialize_cdr(image, IMAGE))))
    odd = types[IMAGE](header, 24, 16, "16UC1", 0, 32, np.zeros(24 * 32, np.uint8))
    recording.message(Message("/depth", IMAGE, 7, bytes(messages.store.serialize_cdr(odd, IMAGE))))
    recording.close()
    found = by_rosbags(bags(tmp_path)[0])
    for topic in ("/policy_controller/frame/observation/images/wrist", "/camera/compressed"):
        ((_, message),) = found[topic]
        pixels = np.asarray(Image.open(io.BytesIO(message.data.tobytes())))
        assert np.abs(pixels.astype(int) - picture).max() < 12
    assert found["/camera/compressed"][0][1].header.stamp.sec == 5
    assert found["/depth"][0][1].encoding == "16UC1"
