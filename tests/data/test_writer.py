"""What the writer puts on disk, LeRobot reads; what was finished survives a kill."""

import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robolearn.data import layout
from robolearn.data.dataset import EpisodeDataset
from robolearn.data.statistics import aggregate_statistics, compute_statistics
from robolearn.data.writer import DatasetWriter
from robolearn.errors import UserError
from robolearn.schema import Feature, Schema, SchemaError

STAGES = ("reach", "grasp", "lift")


def make_schema() -> Schema:
    def vector(n, role, **bounds):
        return Feature("float32", (n,), tuple(f"x{i}" for i in range(n)), ("m",) * n, role, **bounds)

    features = {
        "observation.state": vector(3, "observation"),
        "observation.environment_state": vector(2, "observation"),
        "privileged.force": vector(1, "privileged"),
        "action": vector(2, "action", low=(-1.0, -1.0), high=(1.0, 1.0)),
    }
    return Schema(features, fps=20)


def make_frames(length: int, seed: int) -> dict:
    rng = np.random.default_rng(seed)
    return {key: rng.uniform(-1, 1, (length, *f.shape)).astype(np.float32) for key, f in make_schema().features.items()}


def open_writer(root, **changes) -> DatasetWriter:
    arguments = {"schema": make_schema(), "robot_type": "panda", "stage_names": STAGES, "episodes_per_file": 3}
    arguments |= changes
    return DatasetWriter(root, arguments.pop("schema"), **arguments)


def add(writer: DatasetWriter, lengths, *, first: int = 0) -> None:
    for i, length in enumerate(lengths, start=first):
        stage = np.minimum(np.arange(length) // 3, 3)
        writer.add_episode(make_frames(length, i), task=f"task {i % 2}", stage=stage, seed=i, success=i % 3 != 0)


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


def test_lerobot_reward_model_reads_the_stages(tmp_path):
    from lerobot.rewards.sarm.sarm_utils import find_stage_and_tau

    writer = open_writer(tmp_path)
    add(writer, [12])
    writer.finalize()
    row = pq.read_table(layout.episodes_file(tmp_path, 0)).to_pylist()[0]
    spans = [row[f"dense_subtask_{c}"] for c in ("names", "start_frames", "end_frames")]
    found = [find_stage_and_tau(t, 12, *spans, list(STAGES), {}) for t in range(12)]
    assert [stage for stage, _ in found] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2, 2]
    assert [tau for _, tau in found[:3]] == [0.0, 0.5, 1.0]
    assert all(tau == 0.999 for _, tau in found[9:])  # all stages done
    shares = json.loads((tmp_path / "meta/temporal_proportions_dense.json").read_text())
    assert shares == pytest.approx(dict.fromkeys(STAGES, 1 / 3))


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


@pytest.mark.parametrize("done", [2, 3])
def test_data_without_metadata_is_dropped(tmp_path, done, monkeypatch):
    """Killed between the data file and the episode's metadata, within a file (2) and at its end (3)."""
    writer = open_writer(tmp_path)
    add(writer, [4, 5, 6][:done])

    class Killed(BaseException):
        pass

    def die(*_args, **_kwargs):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("robolearn.data.writer._episode_schema", die)
        with pytest.raises(Killed):
            add(writer, [7], first=done)
    loaded = EpisodeDataset.load(tmp_path)
    assert loaded.num_episodes == done

    resumed = open_writer(tmp_path)
    assert resumed.num_episodes == done
    add(resumed, [9], first=done)
    loaded = EpisodeDataset.load(tmp_path)
    assert loaded.num_episodes == done + 1
    np.testing.assert_array_equal(loaded.episode(done)["action"], make_frames(9, done)["action"])


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
    written = json.loads((root / layout.STATISTICS).read_text())
    np.testing.assert_allclose(written["action"]["std"], dataset.statistics["action"]["std"], atol=1e-9)


def test_statistics_are_lerobots(tmp_path):
    from lerobot.datasets import compute_stats

    rng = np.random.default_rng(0)
    parts = [rng.normal(3.0, 2.0, (n, 3)).astype(np.float32) for n in (50, 200, 7)]
    ours = [compute_statistics({"x": part}) for part in parts]
    theirs = [{"x": compute_stats.get_feature_stats(part, axis=0, keepdims=False)} for part in parts]
    pairs = zip([*ours, aggregate_statistics(ours)], [*theirs, compute_stats.aggregate_stats(theirs)], strict=True)
    for mine, lerobots in pairs:
        assert mine["x"].keys() == lerobots["x"].keys()
        for name, value in lerobots["x"].items():
            # their quantiles come from a histogram of 5000 bins
            np.testing.assert_allclose(mine["x"][name], value, atol=5e-3, err_msg=name)
            assert np.shape(mine["x"][name]) == np.shape(value)
    exact = compute_statistics({"x": np.concatenate(parts)})["x"]
    for name in ("mean", "std", "min", "max", "count"):
        np.testing.assert_allclose(aggregate_statistics(ours)["x"][name], exact[name])


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


@pytest.mark.parametrize("dtype", ["image", "video", "float16"])
def test_dtypes_that_are_not_written(tmp_path, dtype):
    shape, names = ((8, 8, 3), ("height", "width", "channels")) if dtype != "float16" else ((1,), ("x",))
    camera = Feature(dtype, shape, names, ("1",) * len(names), "observation")
    schema = replace(make_schema(), features={**make_schema().features, "observation.images.top": camera})
    with pytest.raises(UserError, match=r"images\.top.*float32"):
        open_writer(tmp_path, schema=schema)


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

    monkeypatch.setattr("robolearn.data.writer.pq.write_table", full)
    with pytest.raises(UserError, match="disk is full"):
        add(writer, [4])
