"""Recordings written here with `rosbags`, imported, and read by our loader and by LeRobot's."""

import io
import shutil
from itertools import pairwise

import numpy as np
import pytest
import yaml
from PIL import Image as PilImage

from robolearn.commands.common import progress
from robolearn.data.check import check_dataset
from robolearn.data.dataset import EpisodeDataset
from robolearn.data.importers.run import import_recordings
from robolearn.errors import UserError

pytest.importorskip("rosbags", reason="the extra 'importers' is not installed")

from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

STORE = get_typestore(Stores.ROS2_JAZZY)
TYPES = STORE.types
MS = 1_000_000
START = 1_700_000_000_000 * MS
CONTRACT = {
    "fps": 20,
    "robot": "ur5e",
    "task": "push the plate",
    "channels": {
        "observation.state": [
            {"topic": "/joint_states", "names": ["elbow", "wrist"], "unit": "rad"},
            {"topic": "/wrench", "field": "wrench.force", "unit": "N", "resample": "asof", "tolerance": 0.1},
        ],
        "observation.images.wrist": {"topic": "/wrist/compressed", "size": [16, 24]},
        "action": {"topic": "/commands", "names": ["vx", "vy"], "unit": "m/s", "low": -1, "high": 1},
    },
}


def header(stamp):
    seconds, nanoseconds = divmod(stamp, 10**9)
    return TYPES["std_msgs/msg/Header"](TYPES["builtin_interfaces/msg/Time"](seconds, nanoseconds), "base")


def joint_state(stamp, **joints):
    none, kind = np.empty(0), TYPES["sensor_msgs/msg/JointState"]
    return kind(header(stamp), list(joints), np.array(list(joints.values()), float), none, none)


def wrench(stamp, x):
    vector = TYPES["geometry_msgs/msg/Vector3"]
    kind = TYPES["geometry_msgs/msg/Wrench"]
    return TYPES["geometry_msgs/msg/WrenchStamped"](header(stamp), kind(vector(x, 0.5, 0.0), vector(0.0, 0.0, 0.0)))


def multi_array(*values):
    layout = TYPES["std_msgs/msg/MultiArrayLayout"]([], 0)
    return TYPES["std_msgs/msg/Float64MultiArray"](layout, np.array(values, float))


def trajectory(stamp, *values):
    none = np.empty(0)
    point = TYPES["trajectory_msgs/msg/JointTrajectoryPoint"](
        np.array(values, float), none, none, none, TYPES["builtin_interfaces/msg/Duration"](0, 0)
    )
    return TYPES["trajectory_msgs/msg/JointTrajectory"](header(stamp), ["elbow", "wrist"], [point])


def raw_image(stamp, rgb):
    height, width, _ = rgb.shape
    bgr = np.ascontiguousarray(rgb[..., ::-1]).reshape(-1)
    return TYPES["sensor_msgs/msg/Image"](header(stamp), height, width, "bgr8", 0, 3 * width, bgr)


def png(stamp, rgb):
    buffer = io.BytesIO()
    PilImage.fromarray(rgb).save(buffer, "PNG")
    data = np.frombuffer(buffer.getvalue(), np.uint8)
    return TYPES["sensor_msgs/msg/CompressedImage"](header(stamp), "png", data)


def grey(value, height=32, width=48):
    return np.full((height, width, 3), value, np.uint8)


def write_bag(path, messages, *, storage=StoragePlugin.MCAP):
    """Write (topic, ms, message) as a recording."""
    with Writer(path, version=9, storage_plugin=storage) as writer:
        connections = {}
        for topic, ms, message in sorted(messages, key=lambda entry: entry[1]):
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=STORE)
            writer.write(connections[topic], START + ms * MS, STORE.serialize_cdr(message, kind))


def session(seconds=2.0):
    """Joints at 100 Hz from two drivers, force at 50 Hz, pictures at 10 Hz, commands at 20 Hz 5 ms after the frames."""
    end = int(seconds * 1000)
    stamp = {ms: START + ms * MS for ms in range(end + 10)}
    messages = [
        ("/joint_states", t, joint_state(stamp[t], gripper=9, wrist=-t, elbow=t)) for t in range(0, end + 1, 10)
    ]
    messages += [("/joint_states", t + 3, joint_state(stamp[t], other=0.0)) for t in range(0, end + 1, 10)]
    messages += [("/wrench", t, wrench(stamp[t], t / 10)) for t in range(0, end + 1, 20)]
    messages += [("/wrist/compressed", t, png(stamp[t], grey(t // 100 * 10))) for t in range(0, end + 1, 100)]
    messages += [("/commands", t + 5, multi_array(t / end, -0.5)) for t in range(0, end + 1, 50)]
    return messages


def contract(path, changes=None, **options):
    data = {**CONTRACT, **options, "channels": {**CONTRACT["channels"], **(changes or {})}}
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return path


def bring_in(source, out, contract, **options):
    settings = {"format": None, "task": None, "video": False, **options}
    return import_recordings(source, out, contract=contract, progress=lambda *a: progress(None, 0), **settings)


@pytest.mark.parametrize("storage", StoragePlugin)
def test_both_storages_become_the_same_dataset(tmp_path, storage):
    write_bag(tmp_path / "bag", session(), storage=storage)
    assert bring_in(tmp_path / "bag", tmp_path / "out", contract(tmp_path / "c.yaml")) == 1
    data = EpisodeDataset.load(tmp_path / "out")
    state = data.schema["observation.state"]
    assert state.names == ("elbow", "wrist", "x", "y", "z")
    assert state.unit == ("rad", "rad", "N", "N", "N")
    assert data.schema.action.low == (-1.0, -1.0)
    assert (data.schema.fps, data.tasks, data.columns["source"]) == (20, ("push the plate",), ["bag"])
    # the first frame is at 5 ms, when the first command is there
    t = 5 + 50 * np.arange(data.num_frames)
    values = data.channels["observation.state"]
    np.testing.assert_allclose(values[:, 0], t // 10 * 10)
    np.testing.assert_allclose(values[:, 1], -(t // 10) * 10)
    np.testing.assert_allclose(values[:, 2], t // 20 * 2)
    np.testing.assert_allclose(data.channels["action"][:, 0], (t - 5) / 2000)
    assert check_dataset(tmp_path / "out") == [f for f in check_dataset(tmp_path / "out") if f.hint]


@pytest.mark.parametrize("video", [True, False])
def test_lerobot_reads_the_pictures_and_the_numbers(tmp_path, video):
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    write_bag(tmp_path / "bag", session(1.0))
    bring_in(tmp_path / "bag", tmp_path / "out", contract(tmp_path / "c.yaml"), video=video)
    theirs = LeRobotDataset("local/bag", root=tmp_path / "out")
    ours = EpisodeDataset.load(tmp_path / "out")
    assert len(theirs) == ours.num_frames == 20
    for i in (0, 7, 19):
        np.testing.assert_array_equal(theirs[i]["observation.state"], ours.channels["observation.state"][i])
        pixels = theirs[i]["observation.images.wrist"].numpy() * 255
        assert pixels.shape == (3, 16, 24)
        np.testing.assert_allclose(pixels, (5 + 50 * i) // 100 * 10, atol=3 if video else 0.01)
        assert theirs[i]["task"] == "push the plate"


def test_a_folder_of_recordings_is_a_dataset_of_them_and_a_killed_import_goes_on(tmp_path):
    for name in ("b", "a"):
        write_bag(tmp_path / "bags" / name, session(1.0))
    file = contract(tmp_path / "c.yaml")
    assert bring_in(tmp_path / "bags" / "a", tmp_path / "out", file) == 1
    assert bring_in(tmp_path / "bags", tmp_path / "out", file) == 2
    assert EpisodeDataset.load(tmp_path / "out").columns["source"] == ["a", "b"]
    with pytest.raises(UserError, match="comes from 'a', not 'b'"):
        bring_in(tmp_path / "bags" / "b", tmp_path / "out", file)


def test_a_camera_that_stops_is_an_error_or_ends_the_episode(tmp_path):
    messages = [m for m in session() if m[0] != "/wrist/compressed" or not 500 < m[1] < 1500]
    write_bag(tmp_path / "bag", messages)
    camera = {"topic": "/wrist/compressed", "resample": "asof", "tolerance": 0.11}
    file = contract(tmp_path / "c.yaml", {"observation.images.wrist": camera})
    with pytest.raises(UserError, match=r"/wrist/compressed has no message within 0.11 s of the frame at 0.655 s"):
        bring_in(tmp_path / "bag", tmp_path / "out", file)
    file = contract(tmp_path / "c.yaml", {"observation.images.wrist": {**camera, "too_old": "cut"}})
    assert bring_in(tmp_path / "bag", tmp_path / "cut", file) == 2
    lengths = EpisodeDataset.load(tmp_path / "cut")
    assert (lengths.ends - lengths.starts).tolist() == [13, 10]
    file = contract(
        tmp_path / "c.yaml",
        {"observation.images.wrist": {"topic": "/wrist/compressed", "resample": "drop", "tolerance": 0.11}},
    )
    assert bring_in(tmp_path / "bag", tmp_path / "drop", file) == 1
    assert EpisodeDataset.load(tmp_path / "drop").num_frames == 23


def test_raw_pictures_trajectories_and_the_header_clock(tmp_path):
    messages = []
    for t in range(0, 1001, 50):
        stamp = START + t * MS
        delay = 30 + 13 * (t // 50 % 2)  # of the transport, which the stamps do not have
        messages += [
            ("/camera", t + delay, raw_image(stamp, grey(t // 10))),
            ("/plan", t + delay, trajectory(stamp, t, 2 * t)),
        ]
    write_bag(tmp_path / "bag", messages)
    file = tmp_path / "c.yaml"
    channels = {
        "observation.images.top": {"topic": "/camera"},
        "action": {"topic": "/plan", "names": ["wrist", "elbow"]},
    }
    file.write_text(yaml.safe_dump({"fps": 20, "clock": "header", "task": "go", "channels": channels}))
    bring_in(tmp_path / "bag", tmp_path / "out", file)
    data = EpisodeDataset.load(tmp_path / "out")
    np.testing.assert_allclose(data.channels["action"], np.arange(0, 1001, 50)[:, None] * [2.0, 1.0])
    assert all(a < b for a, b in pairwise(data.channels["action"][:, 0]))


def test_the_instruction_may_be_recorded(tmp_path):
    string = TYPES["std_msgs/msg/String"]
    write_bag(tmp_path / "bag", [*session(0.5), ("/instruction", 1, string("wipe the table"))])
    file = contract(tmp_path / "c.yaml", task=None, task_topic="/instruction")
    bring_in(tmp_path / "bag", tmp_path / "out", file)
    assert EpisodeDataset.load(tmp_path / "out").tasks == ("wipe the table",)
    bring_in(tmp_path / "bag", tmp_path / "said", file, task="something else")
    assert EpisodeDataset.load(tmp_path / "said").tasks == ("something else",)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"action": {"topic": "/comands"}}, "has no topic '/comands'; did you mean '/commands'"),
        ({"action": {"topic": "/commands", "names": ["vx"]}}, "has 2 values, but there are 1 names"),
        ({"action": {"topic": "/wrench", "field": "wrench.forse"}}, "has no field 'forse'; did you mean 'force'"),
        ({"observation.state": {"topic": "/joint_states", "names": ["elbow", "hip"]}}, "there is no 'hip' among"),
        ({"action": [{"topic": "/wrench", "field": "wrench"}] * 2}, "has two components 'force.x'"),
        ({"action": {"topic": "/commands", "unit": ["m", "m", "m"]}}, "'action' has 2 components, but 3 values"),
    ],
)
def test_a_contract_that_does_not_fit_is_refused(tmp_path, changes, sentence):
    write_bag(tmp_path / "bag", session(0.3))
    with pytest.raises(UserError, match=sentence):
        bring_in(tmp_path / "bag", tmp_path / "out", contract(tmp_path / "c.yaml", changes))
    assert not (tmp_path / "out").exists()


def test_a_damaged_recording_is_refused(tmp_path):
    write_bag(tmp_path / "bag", session(0.3))
    file = contract(tmp_path / "c.yaml")
    with pytest.raises(UserError, match="needs contract=FILE"):
        bring_in(tmp_path / "bag", tmp_path / "out", None)
    (tmp_path / "bag" / "bag.mcap").write_bytes(b"nothing of use")
    with pytest.raises(UserError, match="cannot be read as a rosbag2 recording"):
        bring_in(tmp_path / "bag", tmp_path / "out", file)


TRUTH = TYPES["std_msgs/msg/Bool"]
STEPS = {
    "observation.state": {"topic": "/joint_states", "names": ["elbow", "wrist"], "unit": "rad"},
    "intervention": {"topic": "/led", "dtype": "bool", "names": ["led"]},
    "action": CONTRACT["channels"]["action"],
}


def steps(times):
    """Messages of control steps at these times, in ms."""
    messages = [("/commands", t, multi_array(t / 5000, 0.0)) for t in times]
    messages += [("/joint_states", t, joint_state(START, elbow=t, wrist=t)) for t in times]
    return messages + [("/led", t, TRUTH(t in (50, 450))) for t in times]


def record(path, messages, **options):
    """Write a recording with its contract beside it."""
    write_bag(path, messages)
    data = {**CONTRACT, "frames": "/commands", "verdict_topic": "/verdict", "columns": {"bundle": "b"}, **options}
    (path / "contract.yaml").write_text(yaml.safe_dump({**data, "channels": STEPS}))


def test_frames_at_a_topic_s_messages_with_labels_columns_and_a_verdict(tmp_path):
    times = [0, 50, 100, 400, 450, 500]
    record(tmp_path / "bags" / "one", [*steps(times), ("/verdict", 600, TRUTH(True))])
    assert bring_in(tmp_path / "bags", tmp_path / "out", None) == 2  # the contract lies beside the recording
    data = EpisodeDataset.load(tmp_path / "out")
    assert data.schema["intervention"].dtype == "bool"
    assert data.channels["intervention"][:, 0].tolist() == [0, 1, 0, 0, 1, 0]
    np.testing.assert_array_equal(data.channels["observation.state"][:, 0], times)
    assert data.columns["success"] == [False, True]
    assert data.columns["verdict"] == ["unsaid", "success"]
    assert data.columns["bundle"] == ["b", "b"]


def test_a_verdict_is_about_the_episode_before_it(tmp_path):
    said = [(0, True), (1300, True), (1400, False), (3050, True), (5300, True)]  # the first before any episode
    starts = (100, 2000, 3000, 5000)  # nothing is said of the second; the last has too few frames
    times = [t + 50 * k for t in starts for k in range(1 if t == 5000 else 6)]
    record(tmp_path / "bag", [*steps(times), *(("/verdict", t, TRUTH(success)) for t, success in said)])
    assert bring_in(tmp_path / "bag", tmp_path / "out", None) == 3
    assert EpisodeDataset.load(tmp_path / "out").columns["verdict"] == ["failure", "unsaid", "success"]


def split(folder):
    """Record 11 parts, cut between an observation and its action."""
    messages = sorted(steps(range(0, 1100, 50)), key=lambda entry: entry[1])
    for k in range(11):
        own = messages[6 * k + min(k, 1) : 6 * (k + 1) + 1]
        name = "bag" if k == 0 else f"bag_{k + 1}"  # by name the tenth comes before the second
        own += [("/verdict", 1200, TRUTH(True))] if k == 10 else []
        record(folder / name, own, **({} if k == 0 else {"continues": f"bag_{k}" if k > 1 else "bag"}))


def test_what_goes_on_in_other_recordings_is_one_episode(tmp_path):
    split(tmp_path / "bags")
    assert bring_in(tmp_path / "bags", tmp_path / "out", None) == 1
    data = EpisodeDataset.load(tmp_path / "out")
    np.testing.assert_array_equal(data.channels["observation.state"][:, 0], range(0, 1100, 50))
    assert (data.columns["verdict"], data.columns["source"]) == (["success"], ["bag"])


def test_what_is_left_of_a_recording_is_read(tmp_path, caplog):
    split(tmp_path / "bags")
    for name in ("bag", "bag_6"):
        shutil.rmtree(tmp_path / "bags" / name)
    assert bring_in(tmp_path / "bags", tmp_path / "out", None) == 2
    assert EpisodeDataset.load(tmp_path / "out").columns["source"] == ["bag_2", "bag_7"]
    assert "goes on from bag, which is not there" in caplog.text
    assert "goes on from bag_6, which is not there" in caplog.text


def test_recordings_without_a_frame_are_left_out(tmp_path, caplog):
    for name in ("1", "3"):
        record(tmp_path / "bags" / name, [("/verdict", 0, TRUTH(False))])
    with pytest.raises(UserError, match="has a frame"):
        bring_in(tmp_path / "bags", tmp_path / "out", None)
    record(tmp_path / "bags" / "2", steps([0, 50, 100]))
    caplog.clear()
    assert bring_in(tmp_path / "bags", tmp_path / "out", None) == 1
    assert EpisodeDataset.load(tmp_path / "out").columns["source"] == ["2"]
    assert [record.getMessage().rpartition("/")[2] for record in caplog.records] == [
        f"{name} is left out: not one frame was recorded" for name in ("1", "3")
    ]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"frames": "/comands"}, "`frames: /comands` is no topic of a channel; did you mean '/commands'"),
        ({"columns": ["a"]}, "`columns` must be a list of `name: text`"),
    ],
)
def test_options_of_a_recorder_s_contract_that_cannot_be_are_told(tmp_path, options, text):
    write_bag(tmp_path / "bag", session())
    with pytest.raises(UserError, match=text):
        bring_in(tmp_path / "bag", tmp_path / "out", contract(tmp_path / "c.yaml", **options))
