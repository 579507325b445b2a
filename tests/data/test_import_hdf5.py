"""Files in robomimic's layout written here with h5py, imported, and read by our loader and by LeRobot's."""

import json

import numpy as np
import pytest

from robolearn.commands.common import progress
from robolearn.data.check import check_dataset
from robolearn.data.dataset import EpisodeDataset
from robolearn.data.findings import Limits
from robolearn.data.importers.run import import_recordings
from robolearn.errors import UserError

h5py = pytest.importorskip("h5py", reason="the extra 'importers' is not installed")

LENGTHS = {"demo_0": 6, "demo_2": 5, "demo_10": 4}
WIDTHS = {"robot0_joint_pos": 7, "robot0_eef_pos": 3, "robot0_eef_quat": 4, "robot0_gripper_qpos": 2, "object": 5}
STATE = ("robot0_joint_pos", "robot0_eef_pos", "robot0_eef_quat", "robot0_gripper_qpos")


def values(length, width, seed):
    return np.random.default_rng(seed).uniform(-1, 1, (length, width))


def write(path, *, images=False, observations=True, scale=1.0):
    """Three demonstrations, the last without success, in an order that is not that of their numbers."""
    arguments = {"env_name": "Lift", "type": 1, "env_kwargs": {"control_freq": 25, "robots": ["Panda"]}}
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps(arguments)
        for k, (name, length) in enumerate(LENGTHS.items()):
            demo = data.create_group(name)
            demo.create_dataset("actions", data=scale * values(length, 7, 100 + k))
            demo.create_dataset("rewards", data=np.eye(length)[-1] * (name != "demo_10"))
            demo.create_dataset("dones", data=np.eye(length, dtype=np.int64)[-1])
            demo.create_dataset("states", data=values(length, 11, k))
            if not observations:
                continue
            for i, (key, width) in enumerate(WIDTHS.items()):
                demo.create_dataset(f"obs/{key}", data=values(length, width, 10 * k + i))
                demo.create_dataset(f"next_obs/{key}", data=values(length, width, 999))
            if images:
                pictures = np.zeros((length, 8, 12, 3), np.uint8)
                pictures += (np.arange(length) * 9 + k).astype(np.uint8)[:, None, None, None]
                demo.create_dataset("obs/agentview_image", data=pictures)
                demo.create_dataset("obs/agentview_depth", data=np.ones((length, 8, 12, 1), np.float32))
        file.create_dataset("mask/valid", data=np.array([b"demo_10", b"demo_0"]))
    return path


def bring_in(source, out, contract=None, **options):
    settings = {"format": None, "task": None, "video": False, **options}
    return import_recordings(source, out, contract=contract, progress=lambda *a: progress(None, 0), **settings)


def contract(path, text):
    path.write_text(text)
    return path


def test_without_a_contract_the_usual_keys_become_our_channels(tmp_path):
    assert bring_in(write(tmp_path / "demo.hdf5"), tmp_path / "out") == 3
    data = EpisodeDataset.load(tmp_path / "out")
    assert list(data.channels) == [
        "observation.state",
        "observation.environment_state",
        "action",
        "next.reward",
        "next.done",
    ]
    assert data.columns["source"] == ["demo_0", "demo_2", "demo_10"]
    assert data.columns["success"] == [True, True, False]
    assert (data.schema.fps, data.tasks) == (25, ("Lift",) * 3)
    for k in range(3):
        length, episode = list(LENGTHS.values())[k], data.episode(k)
        expected = [values(length, WIDTHS[key], 10 * k + i) for i, key in enumerate(STATE)]
        np.testing.assert_allclose(episode["observation.state"], np.concatenate(expected, axis=1), rtol=1e-6)
        np.testing.assert_allclose(episode["observation.environment_state"], values(length, 5, 10 * k + 4), rtol=1e-6)
        np.testing.assert_allclose(episode["action"], values(length, 7, 100 + k), rtol=1e-6)
        np.testing.assert_array_equal(episode["next.done"][:, 0], np.eye(length)[-1])
    state = data.schema["observation.state"]
    assert state.names[6:9] == ("robot0_joint_pos_6", "robot0_eef_pos_x", "robot0_eef_pos_y")
    assert state.unit[6:12] == ("rad", "m", "m", "m", "1", "1")
    assert (data.schema.action.low, data.schema.action.high) == ((-1.0,) * 7, (1.0,) * 7)
    assert [f for f in check_dataset(tmp_path / "out", Limits(min_seconds=0)) if not f.hint] == []


@pytest.mark.parametrize("video", [True, False])
def test_lerobot_reads_numbers_and_pictures(tmp_path, video):
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    bring_in(write(tmp_path / "demo.hdf5", images=True), tmp_path / "out", video=video)
    theirs, ours = LeRobotDataset("local/x", root=tmp_path / "out"), EpisodeDataset.load(tmp_path / "out")
    assert len(theirs) == 15
    assert "observation.images.agentview" in theirs.features
    assert not any("depth" in key for key in theirs.features)
    for i in (0, 5, 6, 14):
        np.testing.assert_array_equal(theirs[i]["observation.state"], ours.channels["observation.state"][i])
        k = int(np.searchsorted(ours.ends, i, side="right"))
        pixels = theirs[i]["observation.images.agentview"].numpy() * 255
        np.testing.assert_allclose(pixels, 9 * (i - ours.starts[k]) + k, atol=3 if video else 0.01)


def test_a_contract_chooses_keys_demonstrations_and_words(tmp_path):
    text = """
fps: 10
robot: sawyer
mask: valid
task: lift the red cube
channels:
  observation.state: [robot0_eef_pos, {key: robot0_gripper_qpos}]
  observation.depth.agentview: agentview_depth
  privileged.states: states
  action: actions
"""
    file = contract(tmp_path / "c.yaml", text)
    assert bring_in(write(tmp_path / "demo.hdf5", images=True), tmp_path / "out", file) == 2
    data = EpisodeDataset.load(tmp_path / "out")
    assert list(data.channels) == ["observation.state", "privileged.states", "action"]
    assert data.schema["privileged.states"].role == "privileged"
    assert (data.schema.fps, data.tasks[0], data.columns["source"]) == (10, "lift the red cube", ["demo_0", "demo_10"])
    assert bring_in(tmp_path / "demo.hdf5", tmp_path / "said", file, task="raise it") == 2
    assert EpisodeDataset.load(tmp_path / "said").tasks == ("raise it",) * 2


def test_actions_beyond_one_have_the_bounds_of_the_data(tmp_path):
    bring_in(write(tmp_path / "demo.hdf5", scale=3.0), tmp_path / "out")
    data = EpisodeDataset.load(tmp_path / "out")
    np.testing.assert_allclose(data.schema.action.low, data.channels["action"].min(axis=0))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("channels: {action: action}", "has no 'action' in /data/demo_0; did you mean 'actions'"),
        ("channels: {observation.state: object}", "lacks 'action'"),
        ("mask: vlaid", "no mask 'vlaid'; did you mean 'valid'"),
        ("maks: valid", "unknown option 'maks'; did you mean 'mask'"),
        ("fps: fast", "'fps' is fast: give a whole number"),
    ],
)
def test_a_contract_that_does_not_fit_is_refused(tmp_path, text, sentence):
    with pytest.raises(UserError, match=sentence):
        bring_in(write(tmp_path / "demo.hdf5"), tmp_path / "out", contract(tmp_path / "c.yaml", text))
    assert not (tmp_path / "out").exists()


def test_files_without_observations_or_demonstrations_say_so(tmp_path):
    with pytest.raises(UserError, match="dataset_states_to_obs"):
        bring_in(write(tmp_path / "states.hdf5", observations=False), tmp_path / "out")
    with h5py.File(tmp_path / "other.hdf5", "w") as file:
        file.create_dataset("x", data=np.zeros(3))
    with pytest.raises(UserError, match="is it a robomimic file"):
        bring_in(tmp_path / "other.hdf5", tmp_path / "out")
    (tmp_path / "broken.hdf5").write_bytes(b"nothing of use")
    with pytest.raises(UserError, match="cannot be read as HDF5"):
        bring_in(tmp_path / "broken.hdf5", tmp_path / "out")
