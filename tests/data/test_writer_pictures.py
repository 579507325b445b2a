"""Pictures, as videos or as PNG, and arrays of several axes: LeRobot reads back what was written."""

import json

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
from written_sets import AXES, CAMERAS, add, make_frames, make_schema, open_writer, picture

from robolearn.data import layout
from robolearn.data.summary import lerobot_features
from robolearn.errors import UserError
from robolearn.schema import Feature

LENGTHS = [5, 1, 7, 4]
SCHEMA = make_schema(cameras=CAMERAS)


@pytest.mark.parametrize(("video", "error"), [(True, 3.0), (False, 1e-4)])
def test_lerobot_reads_every_picture_with_its_history(tmp_path, video, error):
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    writer = open_writer(tmp_path, schema=SCHEMA, video=video)
    add(writer, LENGTHS)
    writer.finalize()
    top, wrist = CAMERAS
    dataset = LeRobotDataset("user/set", root=tmp_path, delta_timestamps={top: [-0.1, 0.0]})
    assert dataset.meta.camera_keys == list(CAMERAS)
    assert len(dataset) == sum(LENGTHS)
    place = 0
    for episode, length in enumerate(LENGTHS):
        frames = make_frames(length, episode, SCHEMA)
        for t in range(length):
            sample = dataset[place]
            wanted = (frames[top][[max(t - 2, 0), t]], frames[wrist][[t]])
            found = (sample[top], sample[wrist][None])
            for theirs, ours in zip(found, wanted, strict=True):
                difference = theirs.numpy().transpose(0, 2, 3, 1) * 255 - ours
                assert np.abs(difference).mean() < error
            assert sample[f"{top}_is_pad"].tolist() == [t < 2, False]
            place += 1
    stats = dataset.meta.stats[top]
    assert stats["mean"].shape == (3, 1, 1)
    assert stats["count"] == [sum(LENGTHS)]


@pytest.mark.parametrize("video", [True, False])
def test_info_says_what_lerobot_would_have_said(tmp_path, video):
    from lerobot.configs import RGBEncoderConfig
    from lerobot.datasets.video_utils import get_video_info

    writer = open_writer(tmp_path, schema=SCHEMA, video=video)
    add(writer, [4])
    info = json.loads((tmp_path / layout.INFO).read_text())
    feature = info["features"][CAMERAS[0]]
    assert feature["shape"] == [24, 32, 3]
    assert feature["names"] == ["height", "width", "channels"]
    assert feature["dtype"] == ("video" if video else "image")
    assert info["video_path"] == (layout.VIDEO_TEMPLATE if video else None)
    if not video:
        assert "info" not in feature
        return
    encoder = RGBEncoderConfig(vcodec="h264", crf=18, preset="veryfast")
    path = layout.video_file(tmp_path, CAMERAS[0], 0)
    assert feature["info"] == get_video_info(path, video_encoder=encoder)
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    assert [frame.key_frame for frame in frames] == [True, False, True, False]  # no frame is far from a key frame
    assert [frame.time for frame in frames] == [t / 20 for t in range(4)]


def test_episodes_have_a_video_for_each_camera(tmp_path):
    add(open_writer(tmp_path, schema=SCHEMA), LENGTHS)
    rows = [row for path in sorted(tmp_path.glob("meta/episodes/*/*")) for row in pq.read_table(path).to_pylist()]
    for episode, (row, length) in enumerate(zip(rows, LENGTHS, strict=True)):
        for key in CAMERAS:
            assert (row[f"videos/{key}/chunk_index"], row[f"videos/{key}/file_index"]) == (0, episode)
            assert row[f"videos/{key}/from_timestamp"] == 0
            assert row[f"videos/{key}/to_timestamp"] == pytest.approx(length / 20)
            assert layout.video_file(tmp_path, key, episode).exists()
    assert not set(CAMERAS) & set(pq.read_schema(layout.data_file(tmp_path, 0)).names)


def test_depth_segmentation_and_tables_come_back_without_loss(tmp_path):
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    table = Feature("bool", (2, 3), ("row", "column"), ("1", "1"), "privileged")
    more = {
        "observation.depth.top": picture((6, 8), "float32", 1),
        "observation.segmentation.top": picture((6, 8), "int32", 1),
        "privileged.contact": table,
    }
    schema = make_schema(more=more)
    writer = open_writer(tmp_path, schema=schema)
    add(writer, [4, 3])
    add(open_writer(tmp_path, schema=schema), [5, 2], first=2)
    dataset = LeRobotDataset("user/set", root=tmp_path, delta_timestamps={"observation.depth.top": [-0.05, 0.0]})
    place = 0
    for episode, length in enumerate([4, 3, 5, 2]):
        frames = make_frames(length, episode, schema)
        for t in range(length):
            sample = dataset[place]
            depth = frames["observation.depth.top"][[max(t - 1, 0), t]]
            np.testing.assert_array_equal(sample["observation.depth.top"].numpy(), depth)
            for key in ("observation.segmentation.top", "privileged.contact"):
                np.testing.assert_array_equal(sample[key].numpy(), frames[key][t])
            place += 1
    assert dataset.meta.stats["observation.depth.top"]["mean"].shape == (1,)


@pytest.mark.parametrize(
    ("feature", "words"),
    [
        (picture((24, 31)), "31 x 24 pixels, but a video needs even sizes: .* video=false"),
        (
            picture((24, 32), channels=4),
            r"images.front' is image of shape \(24, 32, 4\); pictures are RGB",
        ),
        (picture((24, 32), channels=1), "pictures are RGB"),
        (Feature("image", (24, 32), AXES[:2], ("1", "1"), "observation"), "pictures are RGB"),
    ],
)
def test_pictures_that_cannot_be_stored_are_refused(tmp_path, feature, words):
    with pytest.raises(UserError, match=words):
        open_writer(tmp_path, schema=make_schema(more={"observation.images.front": feature}))
    assert not list(tmp_path.iterdir())


def test_pictures_of_odd_size_are_stored_as_png(tmp_path):
    schema = make_schema(cameras=CAMERAS, size=(5, 7))
    add(open_writer(tmp_path, schema=schema, video=False), [2])
    cells = pq.read_table(layout.data_file(tmp_path, 0))[CAMERAS[0]].to_pylist()
    assert all(cell["bytes"].startswith(b"\x89PNG") for cell in cells)


def test_pictures_of_floats_are_refused(tmp_path):
    writer = open_writer(tmp_path, schema=SCHEMA)
    frames = make_frames(3, 0, SCHEMA)
    frames[CAMERAS[1]] = frames[CAMERAS[1]] / 255
    with pytest.raises(UserError, match=r"images\.wrist' of episode 0 has pictures of float64: give uint8"):
        writer.add_episode(frames, task="t", stage=np.zeros(3, int))
    add(writer, [3])
    assert writer.num_episodes == 1


@pytest.mark.parametrize("video", [True, False])
def test_another_storage_is_refused_in_the_same_folder(tmp_path, video):
    add(open_writer(tmp_path, schema=SCHEMA, video=video), [3])
    kept = "video" if video else "image"
    with pytest.raises(UserError, match=f"keeps the pictures of '{CAMERAS[0]}' as {kept}: give another folder"):
        open_writer(tmp_path, schema=SCHEMA, video=not video)
    assert open_writer(tmp_path, schema=SCHEMA, video=video).num_episodes == 1


def test_the_schema_names_pictures_alike_in_both_storages(tmp_path):
    schema = json.loads((open_writer(tmp_path, schema=SCHEMA).root / layout.OWN_SCHEMA).read_text())
    assert schema["features"][CAMERAS[0]]["dtype"] == "image"
    for video in (True, False):
        features = lerobot_features(SCHEMA, video=video, spoken=False)
        assert features.keys() == {*SCHEMA, *layout.BOOKKEEPING_FEATURES}


def test_writing_pictures_rewrites_no_older_ones_but_once(tmp_path, monkeypatch):
    """Each PNG is written when its episode is added, and once more when data files are merged."""
    written = []
    write = pq.ParquetWriter.write_table

    def spy(self, table, *rest, **options):
        if CAMERAS[0] in table.column_names:
            written.extend(set(table["episode_index"].to_pylist()))
        return write(self, table, *rest, **options)

    monkeypatch.setattr(pq.ParquetWriter, "write_table", spy)
    writer = open_writer(tmp_path, schema=SCHEMA, video=False, episodes_per_file=4)
    add(writer, [2] * 10)
    writer.finalize()
    assert sorted(written) == sorted([*range(10)] * 2)
