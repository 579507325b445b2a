"""Datasets with pictures: the same samples as LeRobot's, whatever the storage."""

import json

import lerobot_sets
import numpy as np
import pytest
from lerobot_sets import CAMERAS, HEIGHT, LENGTHS, WIDTH

from robolearn.data import layout
from robolearn.data.dataset import EpisodeDataset
from robolearn.data.images import ImageOptions
from robolearn.errors import UserError

STORAGES = ("image", "av1", "h264")


@pytest.fixture(scope="module", params=STORAGES)
def stored(request, tmp_path_factory):
    """Storage, folder and the pictures that went in."""
    root = tmp_path_factory.mktemp("sets") / request.param
    return request.param, root, lerobot_sets.write(root, request.param)


@pytest.fixture(scope="module")
def png_set(tmp_path_factory):
    """A folder with PNG pictures, and the pictures."""
    root = tmp_path_factory.mktemp("sets") / "png"
    return root, lerobot_sets.write(root, "image", cameras=CAMERAS[:1])


def test_every_sample_is_the_one_lerobot_gives(stored):
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    storage, root, given = stored
    ours = EpisodeDataset.load(root, images=ImageOptions())
    past, future = [-0.2, -0.1, 0.0], [0.1 * i for i in range(5)]
    low = ("observation.state", "observation.environment_state")
    offsets = {**dict.fromkeys((*low, *CAMERAS), past), "action": future}
    theirs = LeRobotDataset("user/set", root=root, delta_timestamps=offsets, video_backend="pyav")
    batch = ours.windows(3, 5).batch(np.arange(ours.num_frames))
    assert len(theirs) == len(batch["action"]) == sum(LENGTHS)
    assert set(batch) == {*offsets, "action_is_pad"}
    for i, sample in enumerate(theirs):
        for key in (*low, "action", "action_is_pad"):
            np.testing.assert_array_equal(batch[key][i], sample[key].numpy(), err_msg=f"{key} of frame {i}")
        for key in CAMERAS:
            pictures = sample[key].numpy().transpose(0, 2, 3, 1)  # [n, channels, height, width] in [0, 1]
            assert batch[key].dtype == np.uint8
            np.testing.assert_allclose(batch[key][i] / 255, pictures, atol=1e-6 if storage == "image" else 1.001 / 255)
    for key in CAMERAS:
        error = batch[key][:, -1].astype(int) - given[key]
        assert np.abs(error).mean() <= (0 if storage == "image" else 6)


def test_pictures_are_channels_like_the_simulators(stored):
    _, root, _ = stored
    data = EpisodeDataset.load(root, images=ImageOptions())
    assert data.schema.observation_keys == ("observation.state", "observation.environment_state", *CAMERAS)
    feature = data.schema[CAMERAS[0]]
    assert (feature.dtype, feature.shape, feature.unit) == ("image", (HEIGHT, WIDTH, 3), ("1",) * 3)
    assert CAMERAS[0] not in data.statistics


def test_pictures_are_left_out_unless_wanted(stored):
    _, root, _ = stored
    without = EpisodeDataset.load(root)
    assert without.images == {}
    assert not set(CAMERAS) & {*without.schema, *without.windows(1, 1).batch(np.arange(2))}
    one = EpisodeDataset.load(root, images=ImageOptions(keys=CAMERAS[1:]))
    assert list(one.images) == [CAMERAS[1]]
    assert CAMERAS[0] not in one.schema
    with pytest.raises(UserError, match=r"no picture channel 'observation.images.wrst'.*observation.images.wrist"):
        EpisodeDataset.load(root, images=ImageOptions(keys=("observation.images.wrst",)))


def test_threads_change_nothing(stored):
    _, root, _ = stored
    one = EpisodeDataset.load(root, images=ImageOptions())
    many = EpisodeDataset.load(root, images=ImageOptions(threads=3))
    for key in CAMERAS:
        np.testing.assert_array_equal(one.images[key].pixels, many.images[key].pixels)


def test_progress_counts_every_picture(png_set):
    from contextlib import contextmanager

    root, _ = png_set
    seen = []

    @contextmanager
    def progress(label, total):
        seen.append((label, total))
        yield seen.append

    EpisodeDataset.load(root, images=ImageOptions(), progress=progress)
    assert seen[0] == ("pictures", sum(LENGTHS))
    assert sum(seen[1:]) == sum(LENGTHS)


def test_selected_episodes_keep_their_pictures(png_set):
    root, given = png_set
    data = EpisodeDataset.load(root, images=ImageOptions())
    chosen = data.select([2, 0])
    batch = chosen.windows(1, 1).batch(np.arange(chosen.num_frames))
    frames = batch["observation.state"][:, 0, 0].astype(int)
    assert frames.tolist() == [7, 8, 9, 10, 0, 1, 2, 3, 4, 5]
    np.testing.assert_array_equal(batch[CAMERAS[0]][:, 0], given[CAMERAS[0]][frames])
    assert chosen.images[CAMERAS[0]].pixels is data.images[CAMERAS[0]].pixels
    assert len(chosen.images[CAMERAS[0]]) == 10


def test_the_network_reads_pictures_without_a_copy(png_set):
    import torch

    root, _ = png_set
    data = EpisodeDataset.load(root, images=ImageOptions())
    batch = data.windows(2, 1).batch(np.arange(5))[CAMERAS[0]]
    assert batch.shape == (5, 2, HEIGHT, WIDTH, 3)
    view = torch.from_numpy(batch).permute(0, 1, 4, 2, 3)
    assert view.data_ptr() == batch.ctypes.data
    assert view.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)


def test_pictures_are_resized_as_pillow_does(png_set):
    from PIL import Image

    root, given = png_set
    data = EpisodeDataset.load(root, images=ImageOptions(size=(16, 24)))
    assert data.schema[CAMERAS[0]].shape == (16, 24, 3)
    expected = Image.fromarray(given[CAMERAS[0]][3]).resize((24, 16), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(data.images[CAMERAS[0]].take(np.array([3]))[0], expected)


def test_depth_and_segmentation_are_as_the_schema_says(tmp_path):
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    axes = ["height", "width", "channels"]
    features = {
        "observation.depth.wrist": {"dtype": "float32", "shape": (4, 6, 1), "names": axes},
        "observation.segmentation.wrist": {"dtype": "int32", "shape": (4, 6, 1), "names": axes},
        "action": {"dtype": "float32", "shape": (1,), "names": None},
    }
    theirs = LeRobotDataset.create("user/set", fps=10, features=features, root=tmp_path / "set", use_videos=False)
    rng = np.random.default_rng(0)
    depth = rng.uniform(0.1, 2.0, (5, 4, 6, 1)).astype(np.float32)
    ids = rng.integers(-1, 99_999_999, (5, 4, 6, 1)).astype(np.int32)
    for i in range(5):
        frame = {"observation.depth.wrist": depth[i], "observation.segmentation.wrist": ids[i]}
        theirs.add_frame({**frame, "action": np.zeros(1, np.float32), "task": "go"})
        if i in (1, 4):
            theirs.save_episode()
    theirs.finalize()
    ours = EpisodeDataset.load(tmp_path / "set", images=ImageOptions())
    batch = ours.windows(1, 1).batch(np.arange(5))
    np.testing.assert_array_equal(batch["observation.depth.wrist"][:, 0], depth)
    np.testing.assert_array_equal(batch["observation.segmentation.wrist"][:, 0], ids)  # exact above 2**24 too
    small = EpisodeDataset.load(tmp_path / "set", images=ImageOptions(size=(2, 3)))
    np.testing.assert_array_equal(small.images["observation.segmentation.wrist"].pixels, ids[:, 1::2, 1::2])
    assert list(EpisodeDataset.load(tmp_path / "set").channels) == ["action"]


def test_depth_maps_that_lerobot_encodes_are_refused_by_name(png_set, tmp_path):
    import shutil

    root, _ = png_set
    copy = shutil.copytree(root, tmp_path / "copy")
    info = json.loads((copy / layout.INFO).read_text())
    info["features"][CAMERAS[0]] |= {"shape": [HEIGHT, WIDTH, 1], "info": {"is_depth_map": True}}
    (copy / layout.INFO).write_text(json.dumps(info))
    assert EpisodeDataset.load(copy).num_episodes == 3
    with pytest.raises(UserError, match=r"channel 'observation.images.external' .* only RGB"):
        EpisodeDataset.load(copy, images=ImageOptions())
    info["features"][CAMERAS[0]] |= {"shape": [9, 9, 3], "info": None}
    (copy / layout.INFO).write_text(json.dumps(info))
    with pytest.raises(UserError, match=r"\(64, 80, 3\), but the dataset says \(9, 9, 3\)"):
        EpisodeDataset.load(copy, images=ImageOptions())


def test_missing_and_cut_videos_are_named(tmp_path):
    root = tmp_path / "set"
    lerobot_sets.write(root, "h264", cameras=CAMERAS[:1], lengths=(3, 2))
    (video,) = root.glob("videos/*/*/*.mp4")
    whole = video.read_bytes()
    lerobot_sets.write(tmp_path / "shorter", "h264", cameras=CAMERAS[:1], lengths=(4,))
    (shorter,) = (tmp_path / "shorter").glob("videos/*/*/*.mp4")
    video.write_bytes(shorter.read_bytes())
    with pytest.raises(UserError, match=r"file-000.mp4 has no picture at 0\.400 s"):
        EpisodeDataset.load(root, images=ImageOptions())
    video.unlink()
    with pytest.raises(UserError, match=r"lacks videos/observation.images.external/chunk-000/file-000.mp4"):
        EpisodeDataset.load(root, images=ImageOptions())
    video.write_bytes(whole)
    assert len(EpisodeDataset.load(root, images=ImageOptions()).images[CAMERAS[0]]) == 5


def test_videos_may_store_frames_in_another_order(tmp_path):
    import av

    given = lerobot_sets.write(tmp_path / "set", "reordered", cameras=CAMERAS[:1], lengths=(12,))[CAMERAS[0]]
    (video,) = (tmp_path / "set").glob("videos/*/*/*.mp4")
    with av.open(str(video)) as container:
        stored = [packet.pts for packet in container.demux(video=0) if packet.pts is not None]
    assert stored != sorted(stored)
    images = EpisodeDataset.load(tmp_path / "set", images=ImageOptions()).images[CAMERAS[0]]
    assert np.abs(images.pixels.astype(int) - given).mean(axis=(1, 2, 3)).max() < 6


def test_frames_know_their_instruction(tmp_path):
    lerobot_sets.write(tmp_path / "set", "image", cameras=(), tasks=("open the drawer", "close it"))
    data = EpisodeDataset.load(tmp_path / "set")
    assert sorted(data.instructions) == ["close it", "open the drawer"]
    chosen = data.select([2])
    for dataset, first in ((data, 0), (chosen, 7)):
        frames = np.arange(dataset.num_frames)
        batch = dataset.windows(2, 3, tasks=True).batch(frames)
        said = [dataset.instructions[i] for i in batch["task_index"]]
        assert said == [("open the drawer", "close it")[(first + i) % 2] for i in frames]
    assert "task_index" not in data.windows(2, 3).batch(np.arange(2))
