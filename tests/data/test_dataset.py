"""Datasets in memory: other writers' sets, selections, and clear refusals."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from robolearn.data import layout, stages
from robolearn.data.dataset import EpisodeDataset
from robolearn.data.reading import data_files
from robolearn.data.writer import DatasetWriter
from robolearn.errors import UserError
from robolearn.normalize import Normalizer
from robolearn.schema import Feature, Schema


def write(root, lengths=(6, 3)) -> EpisodeDataset:
    state = Feature("float32", (2,), ("x", "y"), ("m", "m"), "observation")
    action = Feature("float64", (1,), ("dx",), ("m",), "action", low=(-2.0,), high=(2.0,))
    writer = DatasetWriter(root, Schema({"observation.state": state, "action": action}, 10), robot_type="panda")
    for i, length in enumerate(lengths):
        t = np.arange(length, dtype=np.float32) + 100 * i
        writer.add_episode(
            {"observation.state": np.stack((t, -t), axis=1), "action": t[:, None]}, task="go", success=bool(i)
        )
    return EpisodeDataset.load(root)


def test_own_dataset(tmp_path):
    dataset = write(tmp_path)
    assert dataset.schema.action.low == (-2.0,)
    assert dataset.schema["observation.state"].unit == ("m", "m")
    assert dataset.channels["action"].dtype == np.float32
    assert dataset.num_frames == 9
    assert dataset.columns["success"] == [False, True]
    assert dataset.statistics["action"]["max"] == 102.0
    chosen = dataset.select([1])
    assert chosen.num_frames == 3
    assert chosen.statistics["action"]["min"] == 100.0
    assert chosen.columns["success"] == [True]
    with pytest.raises(UserError, match="no episode"):
        dataset.select([])


def test_dataset_that_lerobot_wrote(tmp_path):
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    features = {
        "observation.state": {"dtype": "float32", "shape": (2,), "names": {"motors": ["a", "b"]}},
        "observation.stage": {"dtype": "int64", "shape": (1,), "names": None},
        "action": {"dtype": "float32", "shape": (2,), "names": None},
    }
    theirs = LeRobotDataset.create("user/set", fps=30, features=features, root=tmp_path / "set", use_videos=False)
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (7, 2)).astype(np.float32)
    actions[:, 1] = 0.5
    for t, action in enumerate(actions):
        frame = {"observation.state": action * 2, "observation.stage": np.array([t]), "action": action}
        theirs.add_frame(frame | {"task": "go"})
        if t in (3, 6):
            theirs.save_episode()
    theirs.finalize()

    dataset = EpisodeDataset.load(tmp_path / "set")
    assert (dataset.ends - dataset.starts).tolist() == [4, 3]
    assert dataset.tasks == ("go", "go")
    np.testing.assert_array_equal(dataset.channels["action"], actions)
    assert dataset.schema.observation_keys == ("observation.state",)  # the stage is a label
    assert dataset.schema["observation.state"].names == ("a", "b")
    assert dataset.schema.action.unit == ("unknown", "unknown")
    assert dataset.schema.action.low == pytest.approx((actions[:, 0].min(), -0.5))
    assert dataset.schema.action.high == pytest.approx((actions[:, 0].max(), 1.5))


def test_normalised_windows(tmp_path):
    dataset = write(tmp_path)
    normalizer = Normalizer(dataset.schema, dataset.statistics)
    batch = dataset.windows(1, 1, normalizer=normalizer).batch(np.arange(9))
    np.testing.assert_allclose(batch["observation.state"].mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(batch["action"][:3, 0, 0], [0, 0.5, 1])


def test_a_split_divides_the_episodes(tmp_path):
    dataset = write(tmp_path, lengths=(1, 2, 3, 4, 5, 6, 7))

    def episodes(part):
        return [int(values[0]) // 100 for values in np.split(part.channels["action"][:, 0], part.starts[1:])]

    train, validation = dataset.split(0.3, seed=1)
    assert (train.num_episodes, validation.num_episodes) == (5, 2)
    assert sorted(episodes(train) + episodes(validation)) == list(range(7))
    assert validation.num_frames == sum(episode + 1 for episode in episodes(validation))
    again = dataset.split(0.3, seed=1)[1]
    assert episodes(again) == episodes(validation)
    assert len({tuple(episodes(dataset.split(0.3, seed=seed)[1])) for seed in range(9)}) > 1
    assert dataset.split(0.01, seed=0)[1].num_episodes == 1
    assert dataset.split(0.99, seed=0)[0].num_episodes == 1
    for bad in (0.0, 1.0, -0.1):
        with pytest.raises(UserError, match="between 0 and 1"):
            dataset.split(bad, seed=0)
    with pytest.raises(UserError, match="1 episodes cannot be split"):
        dataset.select([0]).split(0.5, seed=0)


def test_stage_segments():
    names = ("reach", "grasp")
    found = stages.segments(np.array([0, 0, 1, 0, 1, 1, 2, 2]), names)
    assert found == (["reach", "grasp", "reach", "grasp"], [0, 2, 3, 4], [1, 2, 3, 5])
    assert stages.segments(np.array([2, 2]), names) == ([], [], [])
    rows = [stages.columns(np.array(s), names) for s in ([0, 0, 0, 1], [0, 1, 2, 2], [2, 2])]
    assert stages.temporal_proportions(rows, names) == pytest.approx({"reach": 0.625, "grasp": 0.375})


def test_refusals(tmp_path):
    with pytest.raises(UserError, match="no dataset folder"):
        EpisodeDataset.load(tmp_path / "absent")
    (tmp_path / "other").mkdir()
    with pytest.raises(UserError, match="not a LeRobot dataset"):
        EpisodeDataset.load(tmp_path / "other")
    with pytest.raises(UserError, match="zero episodes"):
        write(tmp_path / "empty", lengths=())
    write(tmp_path / "old")
    info = tmp_path / "old" / layout.INFO
    info.write_text(json.dumps(json.loads(info.read_text()) | {"codebase_version": "v2.1"}))
    with pytest.raises(UserError, match=r"version v2\.1"):
        EpisodeDataset.load(tmp_path / "old")


def test_nan_names_channel_and_episode(tmp_path):
    write(tmp_path)
    path = data_files(tmp_path)[-1]
    table = pq.read_table(path)
    spoilt = table["action"].to_numpy().copy()
    spoilt[-2] = np.nan
    at = table.schema.get_field_index("action")
    pq.write_table(table.set_column(at, "action", pa.array(spoilt)), path)
    with pytest.raises(UserError, match=r"channel 'action' .* episode 1"):
        EpisodeDataset.load(tmp_path)


def test_missing_frames(tmp_path):
    write(tmp_path)
    path = data_files(tmp_path)[-1]
    table = pq.read_table(path)
    pq.write_table(table.slice(0, len(table) - 2), path)
    with pytest.raises(UserError, match="lacks 2 of its 9 frames"):
        EpisodeDataset.load(tmp_path)
