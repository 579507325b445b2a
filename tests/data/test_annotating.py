"""Stages put into copies of datasets, ours and those of other writers."""

import json

import lerobot_sets
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import toy_sets
import written_sets
from toy_sets import make_frames, make_schema, make_set

from robolearn.data import language, layout
from robolearn.data.annotating import annotate, has_stages
from robolearn.data.check import check_dataset
from robolearn.data.dataset import EpisodeDataset
from robolearn.data.findings import Limits
from robolearn.data.raw import RawDataset
from robolearn.data.writer import DatasetWriter
from robolearn.errors import UserError
from robolearn.schema import Schema

NAMES = ("stage_1", "stage_2")
LENGTHS = (20, 25, 30)
# the first gets its last stage for one frame, the second loses a stage, the third is done at once
LABELS = [np.repeat([0, 1, 2], [12, 7, 1]), np.repeat([0, 1, 0], [5, 10, 10]), np.full(30, 2)]


def faults(root):
    return [str(finding) for finding in check_dataset(root, Limits(min_seconds=0)) if not finding.hint]


def unlabelled(root, **options):
    """A dataset of `DatasetWriter` without stages."""
    writer = DatasetWriter(root, make_schema(**options), robot_type="panda")
    for i, length in enumerate(LENGTHS):
        writer.add_episode(make_frames(length, i, **options), task=toy_sets.TASKS[i % 2], seed=i, success=i < 2)
    writer.finalize()
    return root


def annotated(root, out, labels=LABELS, names=NAMES, **options):
    annotate(RawDataset.load(root), labels, names, out, **options)
    return out


def require_stages(root, labels=LABELS, names=NAMES):
    data = EpisodeDataset.load(root)
    assert data.stage_names == names
    np.testing.assert_array_equal(data.channels[layout.STAGE][:, 0], np.concatenate(labels))
    return data


def test_a_copy_has_the_stages_and_all_else(tmp_path):
    root = unlabelled(tmp_path / "plain")
    before = EpisodeDataset.load(root)
    assert not has_stages(RawDataset.load(root))
    out = annotated(root, tmp_path / "out")
    data = require_stages(out)
    assert has_stages(RawDataset.load(out))
    for key, values in before.channels.items():
        np.testing.assert_array_equal(data.channels[key], values)
    assert data.schema == Schema({**before.schema.features, layout.STAGE: layout.STAGE_FEATURE}, before.schema.fps)
    assert data.tasks == before.tasks
    assert {key: data.columns[key] for key in before.columns} == before.columns
    assert faults(out) == []


def test_it_is_what_the_writer_would_have_written(tmp_path):
    """With the same stages, file for file."""
    whole = make_set(tmp_path / "whole", LENGTHS)
    written = RawDataset.load(whole)
    labels = [np.array(EpisodeDataset.load(whole).episode(i)[layout.STAGE][:, 0], int) for i in range(3)]
    out = annotated(unlabelled(tmp_path / "plain"), tmp_path / "out", labels, toy_sets.STAGES)
    copy = RawDataset.load(out)
    assert copy.own == written.own
    assert list(copy.info["features"]) == list(written.info["features"])
    for column in written.episodes.column_names:
        if "_subtask_" in column:
            assert copy.episodes[column].to_pylist() == written.episodes[column].to_pylist(), column
    for mode in ("sparse", "dense"):
        name = f"meta/temporal_proportions_{mode}.json"
        assert json.loads((out / name).read_text()) == json.loads((whole / name).read_text())
    tables = [pq.read_table(layout.data_file(root, 0)) for root in (out, whole)]
    assert tables[0].equals(tables[1])


def test_a_copy_can_be_written_to_further(tmp_path):
    out = annotated(unlabelled(tmp_path / "plain"), tmp_path / "out")
    writer = DatasetWriter(out, make_schema(), robot_type="panda", stage_names=NAMES)
    more = np.array([0, 0, 1, 1, 2])
    writer.add_episode(make_frames(5, 9), task=toy_sets.TASKS[0], stage=more, seed=9, success=True)
    writer.finalize()
    require_stages(out, [*LABELS, more])
    assert faults(out) == []


def test_what_is_said_of_other_stages_goes(tmp_path):
    schema = written_sets.make_schema(more={layout.PROGRESS: layout.PROGRESS_FEATURE})
    root = tmp_path / "told"
    writer = written_sets.open_writer(root, schema=schema, stage_sentences=written_sets.SENTENCES)
    frames = written_sets.make_frames(12, 0, schema)
    frames[layout.PROGRESS] = np.linspace(0, 1, 12, dtype=np.float32)[:, None]
    writer.add_episode(frames, task="t", stage=written_sets.make_stage(12))
    writer.finalize()
    assert has_stages(RawDataset.load(root))
    labels = [np.repeat([0, 1], 6)]
    out = annotated(root, tmp_path / "out", labels)
    data = require_stages(out, labels)
    assert layout.PROGRESS not in data.channels
    raw = RawDataset.load(out)
    kept = set(raw.features) | set(pq.read_schema(layout.data_file(out, 0)).names)
    assert not kept & {layout.PROGRESS, language.PERSISTENT, language.EVENTS}
    assert not [name for name in raw.episodes.column_names if layout.PROGRESS in name]
    assert raw.rows[0]["dense_subtask_names"] == list(NAMES)
    assert "stage_sentences" not in raw.own
    assert faults(out) == []


@pytest.mark.parametrize("storage", ["image", "h264"])
def test_datasets_of_lerobot_get_stages(tmp_path, storage):
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    root, out = tmp_path / "theirs", tmp_path / "out"
    lerobot_sets.write(root, storage)
    labels = [np.arange(length) % 3 for length in lerobot_sets.LENGTHS]
    annotated(root, out, labels)
    require_stages(out, labels)
    assert faults(out) == []
    theirs, copy = (LeRobotDataset("user/set", root=folder) for folder in (root, out))
    assert len(copy) == len(theirs)
    for i, stage in enumerate(np.concatenate(labels)):
        before, after = theirs[i], copy[i]
        assert after[layout.STAGE].item() == stage
        for key in (*lerobot_sets.CAMERAS, "action", "observation.state"):
            np.testing.assert_array_equal(after[key].numpy(), before[key].numpy())
        assert after["task"] == before["task"]


def test_lerobots_sarm_finds_the_annotations_that_it_is_trained_on(tmp_path):
    """Its own code, but for the constructor of its processor, which downloads CLIP."""
    import torch
    from lerobot.datasets.lerobot_dataset import LeRobotDatasetMetadata
    from lerobot.rewards.sarm.configuration_sarm import SARMConfig
    from lerobot.rewards.sarm.modeling_sarm import SARMRewardModel
    from lerobot.rewards.sarm.processor_sarm import SARMEncodingProcessorStep

    meta = LeRobotDatasetMetadata("user/set", root=annotated(unlabelled(tmp_path / "plain"), tmp_path / "out"))
    size = {"image_dim": 8, "text_dim": 8, "hidden_dim": 8, "num_heads": 2, "num_layers": 1, "frame_gap": 1}
    config = SARMConfig(annotation_mode="dual", device="cpu", **size)
    SARMRewardModel(config, dataset_meta=meta)  # takes names and shares from the dataset
    assert config.dense_subtask_names == config.sparse_subtask_names == list(NAMES)
    # of the annotated time: in the third episode there is none
    shares = np.mean([[12 / 19, 7 / 19], [15 / 25, 10 / 25]], axis=0)
    np.testing.assert_allclose(config.dense_temporal_proportions, shares)
    step = object.__new__(SARMEncodingProcessorStep)
    step.config, step.dataset_meta = config, meta
    step.dense_subtask_names, step.sparse_subtask_names = config.dense_subtask_names, config.sparse_subtask_names
    step.dense_temporal_proportions = dict(zip(NAMES, shares, strict=True))
    step._validate_annotation_columns()
    frames = pd.DataFrame({"episode": np.repeat(range(3), LENGTHS), "index": range(sum(LENGTHS))})
    targets = step._compute_batch_targets(
        frames["index"].to_numpy(),
        frames["episode"].to_numpy(),
        torch.full((len(frames),), 9),
        torch.zeros(len(frames), dtype=torch.int32),
        meta.episodes.to_pandas(),
        "dense",
    )[:, config.n_obs_steps // 2].numpy()
    first, second, third = np.split(targets, np.cumsum(LENGTHS)[:-1])
    np.testing.assert_allclose(first[:12], np.arange(12) / 11)
    np.testing.assert_allclose(first[12:19], 1 + np.minimum(np.arange(7) / 6, 0.999))
    assert first[19] == pytest.approx(1.999)  # all done
    np.testing.assert_allclose(second[5:15], 1 + np.minimum(np.arange(10) / 9, 0.999))
    np.testing.assert_allclose(second[15:], np.arange(10) / 9)
    assert (third == 0).all()  # no annotation


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (LABELS[:2], "stages of 2 episodes, but"),
        ([*LABELS[:2], LABELS[2][:-1]], "29 stage labels, but another number of frames: 30"),
        ([*LABELS[:2], np.full(30, 3)], r"stage labels must be \[T\] in 0..2"),
    ],
)
def test_stages_of_other_episodes_are_refused(tmp_path, labels, words):
    root = unlabelled(tmp_path / "plain")
    with pytest.raises(UserError, match=words):
        annotated(root, tmp_path / "out", labels)
    assert not (tmp_path / "out").exists()


def test_a_copy_that_is_stopped_leaves_nothing(tmp_path):
    root = unlabelled(tmp_path / "plain")

    def stop(argument):
        raise KeyboardInterrupt

    for hook in ("advance", "complete"):
        with pytest.raises(KeyboardInterrupt):
            annotated(root, tmp_path / "out", **{hook: stop})
        assert sorted(path.name for path in tmp_path.iterdir()) == ["plain"]


def test_files_that_belong_to_a_copy_come_with_it(tmp_path):
    def complete(place):
        assert not out.exists()
        assert len(EpisodeDataset.load(place).columns["seed"]) == 3
        (place / "progress").write_text("here")

    out = tmp_path / "out"
    annotated(unlabelled(tmp_path / "plain"), out, complete=complete)
    assert (out / "progress").read_text() == "here"
