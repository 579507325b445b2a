import json
import shutil
from pathlib import Path

import lerobot_sets
import numpy as np
import pyarrow.parquet as pq
import pytest
from toy_sets import IMAGE, STAGES, TASKS, make_frames, make_schema, make_set

from robolearn.data.check import check_dataset
from robolearn.data.dataset import EpisodeDataset, ImageOptions
from robolearn.data.findings import Limits
from robolearn.data.merge import merge
from robolearn.data.raw import RawDataset
from robolearn.data.writer import DatasetWriter
from robolearn.errors import UserError
from robolearn.schema import Feature, Schema


def faults(root):
    return [str(finding) for finding in check_dataset(root, Limits(min_seconds=0)) if not finding.hint]


def test_a_merged_dataset_holds_the_episodes_of_all_in_order(tmp_path):
    a, b = make_set(tmp_path / "a", (20, 25)), make_set(tmp_path / "b", (30,), first_seed=2)
    merge([a, b, a], tmp_path / "out")
    parts = [EpisodeDataset.load(root) for root in (a, b, a)]
    whole = EpisodeDataset.load(tmp_path / "out")
    expected = [part.episode(i) for part in parts for i in range(part.num_episodes)]
    assert whole.num_episodes == len(expected) == 5
    for i, episode in enumerate(expected):
        for key, values in episode.items():
            np.testing.assert_array_equal(whole.episode(i)[key], values)
    assert whole.tasks == sum((part.tasks for part in parts), ())
    assert whole.columns["seed"] == [0, 1, 2, 0, 1]
    assert whole.schema == parts[0].schema
    assert whole.stage_names == STAGES
    assert faults(tmp_path / "out") == []


def test_statistics_and_shares_are_those_of_the_whole(tmp_path):
    a, b = make_set(tmp_path / "a", (20, 25)), make_set(tmp_path / "b", (30, 10), first_seed=2)
    merge([a, b], tmp_path / "out")
    whole = make_set(tmp_path / "whole", (20, 25, 30, 10))
    for name in ("stats.json", "temporal_proportions_dense.json", "temporal_proportions_sparse.json"):
        ours, direct = (json.loads((root / "meta" / name).read_text()) for root in (tmp_path / "out", whole))
        assert ours.keys() == direct.keys()
        for key, value in direct.items():
            for part in value if isinstance(value, dict) else [None]:
                expected = value[part] if part else value
                np.testing.assert_allclose(ours[key][part] if part else ours[key], expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("video", [True, False])
def test_pictures_are_copied_as_they_are_and_lerobot_reads_them(tmp_path, video):
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    a, b = (make_set(tmp_path / n, (8, 6), images=True, video=video, first_seed=s) for n, s in (("a", 0), ("b", 2)))
    merge([a, b], tmp_path / "out")
    theirs = [LeRobotDataset(f"local/{root.name}", root=root) for root in (a, b, tmp_path / "out")]
    separate = [theirs[k][i] for k in range(2) for i in range(len(theirs[k]))]
    assert len(theirs[2]) == len(separate)
    for i, expected in enumerate(separate):
        found = theirs[2][i]
        for key in (IMAGE, "observation.state", "action"):
            np.testing.assert_array_equal(found[key].numpy(), expected[key].numpy())
        assert found["task"] == expected["task"]
    assert faults(tmp_path / "out") == []


def test_a_merged_dataset_can_be_written_to_further(tmp_path):
    a = make_set(tmp_path / "a", (8, 6), images=True)
    merge([a, a], tmp_path / "out")
    make = {"robot_type": "panda", "stage_names": STAGES}
    writer = DatasetWriter(tmp_path / "out", make_schema(images=True), **make)
    assert writer.num_episodes == 4
    stage = np.zeros(5, int)
    writer.add_episode(make_frames(5, 7, images=True), task=TASKS[0], stage=stage, seed=7, success=False)
    writer.finalize()
    data = EpisodeDataset.load(tmp_path / "out", images=ImageOptions())
    assert (data.num_episodes, len(data.images[IMAGE])) == (5, 33)
    assert faults(tmp_path / "out") == []


def test_datasets_of_lerobots_own_writer_are_merged(tmp_path):
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    camera = lerobot_sets.CAMERAS[0]
    for name, lengths in (("a", (3, 2)), ("b", (4,))):
        lerobot_sets.write(
            tmp_path / name, "av1", lengths=lengths, tasks=(name, "go"), cameras=lerobot_sets.CAMERAS[:1]
        )
    merge([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    parts = [LeRobotDataset(f"local/{name}", root=tmp_path / name) for name in ("a", "b", "out")]
    separate = [parts[k][i] for k in range(2) for i in range(len(parts[k]))]
    assert len(parts[2]) == len(separate)
    for i, expected in enumerate(separate):
        for key in ("action", "observation.state", camera):
            np.testing.assert_array_equal(parts[2][i][key].numpy(), expected[key].numpy())
        assert parts[2][i]["task"] == expected["task"]
    assert faults(tmp_path / "out") == []


def test_language_and_depth_are_copied_as_they_are(tmp_path):
    depth = Feature("float32", (4, 6, 1), ("height", "width", "channels"), ("m",) * 3, "observation")
    schema = make_schema()
    schema = Schema({**schema.features, "observation.depth.front": depth}, schema.fps)
    said = ("go to the cube", "raise the cube")
    for name, length in (("a", 12), ("b", 15)):
        writer = DatasetWriter(tmp_path / name, schema, robot_type="panda", stage_names=STAGES, stage_sentences=said)
        frames = make_frames(length, length)
        frames["observation.depth.front"] = (
            np.random.default_rng(length).uniform(size=(length, 4, 6, 1)).astype("float32")
        )
        writer.add_episode(frames, task="lift", stage=np.repeat([0, 1], [5, length - 5]))
        writer.finalize()
    merge([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    tables = [pq.read_table(next((tmp_path / name).glob("data/*/*.parquet"))) for name in ("a", "b", "out")]
    for key in ("language_persistent", "language_events", "observation.depth.front"):
        assert tables[2][key].to_pylist() == tables[0][key].to_pylist() + tables[1][key].to_pylist()
    assert json.loads((tmp_path / "out/meta/robolearn_schema.json").read_text())["stage_sentences"] == list(said)
    assert faults(tmp_path / "out") == []
    writer = DatasetWriter(tmp_path / "out", schema, robot_type="panda", stage_names=STAGES, stage_sentences=said)
    assert writer.num_episodes == 2


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"fps": 10}, "fps is 10, not 20"),
        ({"robot": "ur5e"}, "robot_type is ur5e, not panda"),
        ({"images": True}, f"channel '{IMAGE}' is there in addition"),
    ],
)
def test_what_is_not_the_same_is_named(tmp_path, options, sentence):
    a, b = make_set(tmp_path / "a", (6,)), make_set(tmp_path / "b", (6,), **options)
    with pytest.raises(UserError, match=sentence):
        merge([a, b], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_bounds_stages_columns_or_units_are_named(tmp_path):
    a = make_set(tmp_path / "a", (6,))

    def changed(name, change):
        root = tmp_path / name
        shutil.copytree(a, root)
        path = root / "meta/robolearn_schema.json"
        data = json.loads(path.read_text())
        change(data)
        path.write_text(json.dumps(data))
        return root

    cases = {
        "bounds": (lambda d: d["features"]["action"].update(high=[2.0, 2.0]), "channel 'action' has other bounds"),
        "unit": (
            lambda d: d["features"]["action"].update(unit=["mm", "1"]),
            "channel 'action': unit is 'm' at place 0",
        ),
        "stages": (lambda d: d.update(stage_names=["reach", "hold"]), "its stages are reach, hold, not reach, lift"),
    }
    for name, (change, sentence) in cases.items():
        with pytest.raises(UserError, match=sentence):
            merge([a, changed(name, change)], tmp_path / "out")
    writer = DatasetWriter(tmp_path / "plain", make_schema(), robot_type="panda", stage_names=STAGES)
    writer.add_episode(make_frames(6, 0), task=TASKS[0], stage=np.zeros(6, int), seed=0)
    with pytest.raises(UserError, match="column 'success' is missing, not bool"):
        merge([a, tmp_path / "plain"], tmp_path / "out")


def test_nothing_is_overwritten_and_a_failed_copy_leaves_nothing(tmp_path):
    a = make_set(tmp_path / "a", (8, 6), images=True)
    with pytest.raises(UserError, match="exists already"):
        merge([a], a)
    broken = tmp_path / "broken"
    shutil.copytree(a, broken)
    next(iter(sorted(broken.glob("videos/*/*/*.mp4"))[1:])).unlink()
    with pytest.raises(UserError, match="leave episode 1 out"):
        merge([a, broken], tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "broken"]


def test_merging_one_dataset_mends_its_counters_and_statistics(tmp_path):
    a = make_set(tmp_path / "a")
    info = json.loads((a / "meta/info.json").read_text())
    (a / "meta/info.json").write_text(json.dumps({**info, "total_frames": 3}))
    (a / "meta/stats.json").unlink()
    assert len(faults(a)) == 2
    merge([a], tmp_path / "out")
    assert faults(tmp_path / "out") == []
    assert RawDataset.load(tmp_path / "out").info["total_frames"] == 75


def test_the_metadata_of_raw_datasets_is_in_the_order_of_episodes(tmp_path):
    raw = RawDataset.load(make_set(tmp_path / "a", (5,) * 5, episodes_per_file=2))
    assert [row["episode_index"] for row in raw.rows] == list(range(5))
    assert raw.extras == ("seed", "success")
    assert raw.data_file(raw.rows[4]) != raw.data_file(raw.rows[0])
    assert isinstance(raw.root, Path)
