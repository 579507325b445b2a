"""Stage labels in both forms that LeRobot reads: segments of an episode, and language columns of its frames."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from written_sets import SENTENCES, STAGES, make_frames, make_stage, open_writer

from robolearn.data import layout, stages
from robolearn.data.language import language_columns
from robolearn.errors import UserError


def write(root, labels, **changes):
    writer = open_writer(root, stage_sentences=SENTENCES, **changes)
    for i, stage in enumerate(labels):
        writer.add_episode(make_frames(len(stage), i), task="lift the cube", stage=np.array(stage), seed=i)
    writer.finalize()
    return writer


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30))
def test_segments_cover_all_frames_but_those_where_all_is_done(labels):
    names, starts, ends = stages.segments(np.array(labels), STAGES)
    found = [3] * len(labels)
    for name, start, end in zip(names, starts, ends, strict=True):
        found[start : end + 1] = [STAGES.index(name)] * (end - start + 1)
    assert found == labels
    assert all(a != b or j + 1 < i for a, b, i, j in zip(names, names[1:], starts[1:], ends, strict=False))


def test_lerobot_reward_model_reads_the_stages(tmp_path):
    from lerobot.rewards.sarm.sarm_utils import find_stage_and_tau

    write(tmp_path, [make_stage(12)])
    row = pq.read_table(layout.episodes_file(tmp_path, 0)).to_pylist()[0]
    spans = [row[f"dense_subtask_{c}"] for c in ("names", "start_frames", "end_frames")]
    found = [find_stage_and_tau(t, 12, *spans, list(STAGES), {}) for t in range(12)]
    assert [stage for stage, _ in found] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2, 2]
    assert [tau for _, tau in found[:3]] == [0.0, 0.5, 1.0]
    assert all(tau == 0.999 for _, tau in found[9:])  # all stages done
    shares = json.loads((tmp_path / "meta/temporal_proportions_dense.json").read_text())
    assert shares == pytest.approx(dict.fromkeys(STAGES, 1 / 3))


def test_lerobot_says_at_each_frame_what_the_robot_is_doing(tmp_path):
    from lerobot.datasets.language_render import active_at, nth_next
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    labels = [[0, 0, 1, 1, 2, 3], [0, 1, 0, 0, 1, 2, 2], [1]]
    write(tmp_path, labels, episodes_per_file=2)
    dataset = LeRobotDataset("user/set", root=tmp_path)
    assert dataset.meta.has_language_columns
    place = 0
    for stage in labels:
        for t, label in enumerate(stage):
            sample = dataset[place]
            persistent, time = sample["language_persistent"], sample["timestamp"].item()
            row = active_at(time, persistent=persistent, style="subtask")
            assert row["content"] == SENTENCES[min(label, 2)]  # the last one stands once all is done
            assert (row["role"], row["camera"], row["tool_calls"]) == ("assistant", None, None)
            later = [after for after in stage[t:] if after != label and after < 3]
            following = nth_next(time, persistent=persistent, style="subtask")
            assert (following or {"content": None})["content"] == (SENTENCES[later[0]] if later else None)
            assert sample["language_events"] == []
            place += 1


def test_lerobot_renders_and_batches_the_sentences(tmp_path):
    from lerobot.configs.recipe import MessageTurn, TrainingRecipe
    from lerobot.datasets.language_render import render_sample
    from lerobot.datasets.lerobot_dataset import LeRobotDataset
    from lerobot.utils.collate import lerobot_collate_fn

    write(tmp_path, [make_stage(8)])
    dataset = LeRobotDataset("user/set", root=tmp_path, delta_timestamps={"action": [0.0, 0.05]})
    asked = MessageTurn(role="user", content="${task}", stream="high_level")
    told = MessageTurn(role="assistant", content="${subtask}", stream="high_level", target=True)
    sample = dataset[4]
    rendered = render_sample(
        recipe=TrainingRecipe(messages=[asked, told]),
        persistent=sample["language_persistent"],
        events=sample["language_events"],
        t=sample["timestamp"].item(),
        sample_idx=4,
        task=sample["task"],
    )
    assert [message["content"] for message in rendered["messages"]] == ["lift the cube", "close the fingers"]
    batch = lerobot_collate_fn([dataset[t] for t in range(3)])
    assert batch["action"].shape == (3, 2, 2)
    assert batch["task"] == ["lift the cube"] * 3


def test_lerobots_own_check_of_annotations_finds_the_same_spans(tmp_path):
    from lerobot.annotations.steerable_pipeline.reader import iter_episodes, reconstruct_subtask_spans

    write(tmp_path, [[0, 0, 1, 2, 2, 3], [0, 1, 1]])
    (first, second) = iter_episodes(tmp_path)
    assert first.episode_task == "lift the cube"
    for record, starts in ((first, [0, 2, 3]), (second, [0, 1])):
        frames = record.frames_df()
        slices = {json.dumps([dict(row) for row in rows], default=str) for rows in frames["language_persistent"]}
        assert len(slices) == 1  # the same at every frame
        spans = reconstruct_subtask_spans(frames["language_persistent"][0])
        assert [span["text"] for span in spans] == list(SENTENCES[: len(starts)])
        assert [span["start"] for span in spans] == [record.frame_timestamps[k] for k in starts]


def test_without_sentences_there_are_no_language_columns(tmp_path):
    writer = open_writer(tmp_path)
    writer.add_episode(make_frames(5, 0), task="t", stage=make_stage(5))
    assert not [key for key in json.loads((tmp_path / layout.INFO).read_text())["features"] if "language" in key]
    assert not [name for name in pq.read_schema(layout.data_file(tmp_path, 0)).names if "language" in name]


def test_an_episode_in_which_all_is_done_says_nothing():
    columns = language_columns(np.full(4, 3), SENTENCES, timestamp=np.arange(4, dtype=np.float32))
    assert [column.to_pylist() for column in columns.values()] == [[[]] * 4] * 2


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (SENTENCES, (), "other sentences"),
        ((), SENTENCES, "other sentences"),
        (SENTENCES, ("a", "b", "c"), "other sentences"),
        (SENTENCES, ("a",), "1 sentences for the stages"),
    ],
)
def test_other_sentences_are_refused(tmp_path, before, after, words):
    open_writer(tmp_path, stage_sentences=before)
    with pytest.raises(UserError, match=words):
        open_writer(tmp_path, stage_sentences=after)
