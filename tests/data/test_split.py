import lerobot_sets
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_sets import IMAGE, make_set

from robolearn.data.check import check_dataset
from robolearn.data.dataset import EpisodeDataset
from robolearn.data.findings import Limits
from robolearn.data.raw import RawDataset
from robolearn.data.split import by_column, by_list, by_share, split
from robolearn.errors import UserError


@given(st.integers(1, 300), st.floats(0, 1), st.integers(0, 5))
def test_a_share_is_drawn_without_repetition_and_by_the_seed_alone(count, share, seed):
    drawn = by_share(count, share, seed=seed)
    assert drawn == sorted(set(drawn)) == by_share(count, share, seed=seed)
    assert set(drawn) <= set(range(count))
    assert abs(len(drawn) - max(1, share * count)) <= 0.5


def test_the_draw_is_that_of_the_datasets_own_split(tmp_path):
    root = make_set(tmp_path / "a", (5,) * 10)
    train, validation = EpisodeDataset.load(root).split(0.3, seed=4)
    assert by_share(10, 0.7, seed=4) == train.columns["seed"]
    assert len(validation.columns["seed"]) == 3


def test_another_seed_draws_others():
    assert by_share(100, 0.5, seed=0) != by_share(100, 0.5, seed=1)


def test_lists_hold_numbers_and_ranges():
    assert by_list(20, ["3", "10-12", "11"]) == [3, 10, 11, 12]


@pytest.mark.parametrize(
    ("word", "sentence"),
    [("20", "there are no episodes '20'"), ("5-3", "there are no"), ("x", "cannot read"), ("-3", "cannot read")],
)
def test_a_list_that_cannot_be_is_refused(word, sentence):
    with pytest.raises(UserError, match=sentence):
        by_list(20, [word])


def test_columns_choose_by_their_value(tmp_path):
    raw = RawDataset.load(make_set(tmp_path / "a", (5, 6, 7, 8)))
    assert by_column(raw, "success", "True") == [0, 1, 3]
    assert by_column(raw, "success", "false") == [2]
    assert by_column(raw, "seed", "2") == [2]
    assert by_column(raw, "length", "8") == [3]
    assert by_column(raw, "task", "lift the cube") == [0, 2]
    with pytest.raises(UserError, match="no column 'sucess'; did you mean 'success'"):
        by_column(raw, "sucess", "true")
    with pytest.raises(UserError, match="no episode has success=yes"):
        by_column(raw, "success", "yes")


@pytest.mark.parametrize("video", [True, False])
def test_both_parts_are_datasets_that_lerobot_reads(tmp_path, video):
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    root = make_set(tmp_path / "a", (8, 6, 7), images=True, video=video)
    parts = split(RawDataset.load(root), [0, 2], tmp_path / "out", names=("good", "bad"))
    assert [part.name for part in parts] == ["good", "bad"]
    whole = LeRobotDataset("local/a", root=root)
    frames = {"good": [*range(8), *range(14, 21)], "bad": range(8, 14)}
    for part in parts:
        theirs = LeRobotDataset(f"local/{part.name}", root=part)
        assert len(theirs) == len(frames[part.name])
        for i, k in enumerate(frames[part.name]):
            for key in (IMAGE, "observation.state"):
                np.testing.assert_array_equal(theirs[i][key].numpy(), whole[k][key].numpy())
        assert [f for f in check_dataset(part, Limits(min_seconds=0)) if not f.hint] == []
    assert EpisodeDataset.load(parts[0]).columns["seed"] == [0, 2]
    assert len(list((parts[1] / "videos").rglob("*.mp4"))) == video


@pytest.mark.parametrize("storage", ["av1", "h264"])
def test_episodes_are_cut_out_of_a_video_that_lerobot_put_them_in(tmp_path, storage):
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    camera = lerobot_sets.CAMERAS[0]
    lerobot_sets.write(tmp_path / "a", storage, lengths=(4, 3, 5), cameras=(camera,))
    parts = split(RawDataset.load(tmp_path / "a"), [1], tmp_path / "out", names=("one", "others"))
    whole = LeRobotDataset("local/a", root=tmp_path / "a")
    for part, frames in zip(parts, (range(4, 7), [*range(4), *range(7, 12)]), strict=True):
        theirs = LeRobotDataset(f"local/{part.name}", root=part)
        for i, k in enumerate(frames):
            np.testing.assert_array_equal(theirs[i][camera].numpy(), whole[k][camera].numpy())
        assert [f for f in check_dataset(part, Limits(min_seconds=0)) if not f.hint] == []
    assert len(list((parts[1] / "videos").rglob("*.mp4"))) == 2


def test_an_empty_part_is_refused_before_anything_is_written(tmp_path):
    raw = RawDataset.load(make_set(tmp_path / "a"))
    for chosen, name in (([], "train"), ([0, 1, 2], "validation")):
        with pytest.raises(UserError, match=f"'{name}' would have none"):
            split(raw, chosen, tmp_path / "out", names=("train", "validation"))
    assert not (tmp_path / "out" / "train").exists()
