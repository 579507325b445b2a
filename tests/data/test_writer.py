"""What the writer puts on disk, LeRobot reads; what was finished is found again."""

import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from written_sets import STAGES, add, make_frames, make_schema, open_writer

from robolearn.data import layout
from robolearn.data.dataset import EpisodeDataset
from robolearn.errors import UserError
from robolearn.schema import Feature, Schema, SchemaError


def test_lerobot_reads_every_sample_as_written(tmp_path):
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    lengths = [5, 1, 9, 4]
    writer = open_writer(tmp_path / "set")
    add(writer, lengths)
    writer.finalize()
    offsets = {"observation.state": [-0.05, 0.0], "action": [0.0, 0.05, 0.10]}
    dataset = LeRobotDataset("user/set", root=tmp_path / "set", delta_timestamps=offsets)

    assert dataset.num_episodes == 4
    assert len(dataset) == sum(lengths)
    assert dataset.fps == 20
    place = 0
    for episode, length in enumerate(lengths):
        frames = make_frames(length, episode)
        for t in range(length):
            sample = dataset[place]
            past, future = [max(t - 1, 0), t], [min(t + k, length - 1) for k in range(3)]
            np.testing.assert_array_equal(sample["observation.state"], frames["observation.state"][past])
            np.testing.assert_array_equal(sample["action"], frames["action"][future])
            assert sample["action_is_pad"].tolist() == [t + k >= length for k in range(3)]
            np.testing.assert_array_equal(
                sample["observation.environment_state"], frames["observation.environment_state"][t]
            )
            assert sample["privileged.force"].item() == frames["privileged.force"][t, 0]
            assert sample["observation.stage"].item() == min(t // 3, 3)
            assert sample["timestamp"].item() == pytest.approx(t / 20)
            assert sample["task"] == f"task {episode % 2}"
            place += 1

    row = dataset.meta.episodes[2]
    assert row["success"] is True
    assert row["seed"] == 2
    for mode in ("sparse", "dense"):
        assert row[f"{mode}_subtask_names"] == list(STAGES)
        assert row[f"{mode}_subtask_start_frames"] == [0, 3, 6]
        assert row[f"{mode}_subtask_end_frames"] == [2, 5, 8]


def test_abandoned_writer_leaves_finished_episodes_and_resumes(tmp_path):
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    add(open_writer(whole), [4, 5, 6, 7, 8])

    add(open_writer(broken), [4, 5])  # never finalised
    (broken / "data/chunk-000/.file-000.parquet.tmp").write_bytes(b"half a file")
    assert EpisodeDataset.load(broken).num_episodes == 2

    resumed = open_writer(broken)
    assert resumed.num_episodes == 2
    add(resumed, [6, 7, 8], first=2)
    for path in sorted(p for p in whole.rglob("*") if p.is_file()):
        twin = broken / path.relative_to(whole)
        if path.suffix == ".parquet":
            assert pq.read_table(twin).equals(pq.read_table(path)), path
        elif path.name != "stats.json":  # equal up to rounding, see test_round_trip
            assert twin.read_text() == path.read_text()
    assert not list(broken.rglob("*.tmp"))


@settings(max_examples=20, deadline=None)
@given(lengths=st.lists(st.integers(1, 12), min_size=1, max_size=7), reopen=st.integers(0, 7))
def test_round_trip(tmp_path_factory, lengths, reopen):
    root = tmp_path_factory.mktemp("set")
    add(open_writer(root), lengths[:reopen])
    add(open_writer(root), lengths[reopen:], first=len(lengths[:reopen]))
    dataset = EpisodeDataset.load(root)
    assert (dataset.ends - dataset.starts).tolist() == lengths
    assert dataset.columns["seed"] == list(range(len(lengths)))
    for i, length in enumerate(lengths):
        for key, values in make_frames(length, i).items():
            np.testing.assert_array_equal(dataset.episode(i)[key], values)
        assert dataset.tasks[i] == f"task {i % 2}"
    open_writer(root).finalize()
    written = json.loads((root / layout.STATISTICS).read_text())
    np.testing.assert_allclose(written["action"]["std"], dataset.statistics["action"]["std"], atol=1e-9)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"stage_names": ("reach", "lift")}, "stages"),
        ({"robot_type": "ur5e"}, "panda"),
        ({"schema": Schema(dict(list(make_schema().features.items())[1:]), 20)}, r"observation\.state"),
        (
            {
                "schema": replace(
                    make_schema(),
                    features={**make_schema().features, "action": replace(make_schema().action, high=(1.0, 2.0))},
                )
            },
            "'action' has other bounds",
        ),
    ],
)
def test_another_dataset_in_the_folder_is_refused(tmp_path, change, words):
    add(open_writer(tmp_path), [3])
    with pytest.raises(UserError, match=words):
        open_writer(tmp_path, **change)
    assert EpisodeDataset.load(tmp_path).num_episodes == 1


def test_foreign_dataset_is_refused(tmp_path):
    (tmp_path / "meta").mkdir()
    (tmp_path / layout.INFO).write_text("{}")
    with pytest.raises(UserError, match="did not write"):
        open_writer(tmp_path)


def test_channels_that_lerobot_cannot_read_are_refused(tmp_path):
    def vector(dtype, shape=(1,), names=("x",)):
        return Feature(dtype, shape, names, ("1",) * len(names), "observation")

    cases = [
        ("observation.half", vector("float16"), "'observation.half' is float16; datasets are written with.* float32"),
        ("observation.word", vector("str"), "'observation.word' is str"),
        ("observation.scalar", vector("float32", ()), "one to 5 axes"),
        ("observation/slash", vector("float32"), "slash"),
    ]
    for key, feature, words in cases:
        with pytest.raises(UserError, match=words):
            open_writer(tmp_path, schema=make_schema(more={key: feature}))
    assert not list(tmp_path.iterdir())


def test_small_data_files_are_merged(tmp_path):
    writer = open_writer(tmp_path)
    for done in range(8):
        add(writer, [4], first=done)
        files = sorted(path.name for path in (tmp_path / "data/chunk-000").iterdir())
        merged, single = divmod(done + 1, 3)
        assert files == [f"file-{k:03d}.parquet" for k in range(merged + single)]
        assert len(list(tmp_path.glob("meta/episodes/*/*"))) == merged + (single > 0)
    writer.finalize()
    assert len(list(tmp_path.glob("data/*/*"))) == 3
    rows = [row for path in sorted(tmp_path.glob("meta/episodes/*/*")) for row in pq.read_table(path).to_pylist()]
    assert [row["data/file_index"] for row in rows] == [0, 0, 0, 1, 1, 1, 2, 2]
    assert pq.ParquetFile(layout.data_file(tmp_path, 0)).num_row_groups == 3  # one for each episode
    add(writer, [4, 4], first=8)
    assert EpisodeDataset.load(tmp_path).columns["seed"] == list(range(10))


def test_a_data_file_of_many_bytes_takes_no_further_episode(tmp_path, monkeypatch):
    monkeypatch.setattr("robolearn.data.tail.FULL", 1)
    add(open_writer(tmp_path), [4] * 3)
    add(open_writer(tmp_path), [4], first=3)
    assert len(list(tmp_path.glob("data/*/*"))) == len(list(tmp_path.glob("meta/episodes/*/*"))) == 4
    assert EpisodeDataset.load(tmp_path).num_episodes == 4


def test_info_counts_every_episode_at_once_and_statistics_follow(tmp_path):
    writer, known = open_writer(tmp_path), []
    for done in range(23):
        add(writer, [4], first=done)
        info = json.loads((tmp_path / layout.INFO).read_text())
        assert (info["total_episodes"], info["total_frames"]) == (done + 1, 4 * (done + 1))
        assert info["splits"] == {"train": f"0:{done + 1}"}
        assert info["total_tasks"] == min(done + 1, 2)
        known.append(json.loads((tmp_path / layout.STATISTICS).read_text())["action"]["count"][0] // 4)
        assert known[-1] >= 8 / 9 * (done + 1) - 1
    assert known[:9] == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert known[-1] == 22
    writer.finalize()
    assert json.loads((tmp_path / layout.STATISTICS).read_text())["action"]["count"] == [92]


@pytest.mark.parametrize("lost", ["data/chunk-000/file-000.parquet", "data/chunk-000/file-001.parquet"])
def test_a_lost_or_shortened_data_file_is_told(tmp_path, lost):
    add(open_writer(tmp_path), [4, 4, 4, 4])
    path = tmp_path / lost
    table = pq.read_table(path)
    path.unlink()
    with pytest.raises(UserError, match=r"is missing, though the metadata lists it: delete"):
        open_writer(tmp_path)
    pq.write_table(table.slice(0, 3), path)
    if "001" in lost:  # the only one that is read again
        with pytest.raises(UserError, match="lacks frames of episodes"):
            open_writer(tmp_path)


def test_bad_episodes_are_refused_and_leave_the_set_alone(tmp_path):
    writer = open_writer(tmp_path)
    add(writer, [4])
    stage = np.zeros(4, int)
    good = make_frames(4, 1)
    spoilt = {**good, "action": np.full((4, 2), np.nan, np.float32)}
    cases = [
        (spoilt, {"stage": stage}, UserError, "channel 'action' of episode 1 holds NaN"),
        (good, {"stage": None}, UserError, "needs stage labels"),
        (good, {"stage": stage + 4}, UserError, "stage labels"),
        (good, {"stage": stage[:2]}, UserError, "number of frames"),
        (make_frames(0, 0), {"stage": stage[:0]}, UserError, "number of frames"),
        (good, {"stage": stage, "seed": "one"}, UserError, "episode scalars differ"),
        ({k: v for k, v in good.items() if k != "action"}, {"stage": stage}, SchemaError, "'action' is missing"),
    ]
    for frames, given_, error, words in cases:
        extra = {"seed": 1, "success": True} | given_
        with pytest.raises(error, match=words):
            writer.add_episode(frames, task="t", **extra)
    add(writer, [5], first=1)
    assert EpisodeDataset.load(tmp_path).num_episodes == 2


def test_full_disk_is_told(tmp_path, monkeypatch):
    writer = open_writer(tmp_path)

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("robolearn.data.episode_rows.pq.write_table", full)
        with pytest.raises(UserError, match="disk is full"):
            add(writer, [4])
    assert writer.num_episodes == 0
    add(writer, [4, 5])  # after some space was freed
    assert EpisodeDataset.load(tmp_path).num_episodes == 2
