"""The file of decoded pictures: opened at once, finished after a kill, replaced with its dataset."""

import threading
import time
from collections import namedtuple
from pathlib import Path

import lerobot_sets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lerobot_sets import CAMERAS

from robolearn.data import image_cache, image_sources
from robolearn.data.dataset import EpisodeDataset
from robolearn.data.image_cache import cache_path, default_folder, open_cache
from robolearn.data.image_sources import Pictures
from robolearn.data.images import ImageOptions
from robolearn.errors import UserError
from robolearn.schema import Feature

FRAMES = np.random.default_rng(0).integers(0, 256, (23, 4, 5, 3), np.uint8)
FEATURE = Feature("image", (4, 5, 3), ("height", "width", "channels"), ("1",) * 3, "observation")


class Kill(BaseException):
    """The process dies here."""


class Memory:
    """Pictures from memory; notes where reading began, and dies on the way if told so."""

    files = (Path("nowhere"),)

    def __init__(self, *, dies_at=None, pause=0.0):
        self.dies_at, self.pause, self.begun = dies_at, pause, []

    def items(self, start, stop):
        self.begun.append(start)
        for i in range(start, stop):
            if i == self.dies_at:
                raise Kill
            time.sleep(self.pause)
            yield FRAMES[i]

    def read(self, item):
        return item


def pictures(source):
    return Pictures(source, FEATURE, len(FRAMES))


def ignore(n):
    return None


@settings(max_examples=25)
@given(dies_at=st.integers(0, 22), lost=st.integers(0, 80), block=st.integers(1, 8))
def test_what_was_decoded_before_a_kill_is_not_decoded_again(tmp_path_factory, dies_at, lost, block):
    path = tmp_path_factory.mktemp("cache") / "x-4x5x3-1.raw"
    frame = 4 * 5 * 3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_sources, "BLOCK_BYTES", block * frame)
        with pytest.raises(Kill):
            open_cache(path, pictures(Memory(dies_at=dies_at)), ignore)
        assert not path.exists()
        (left,) = path.parent.iterdir()
        assert left.stat().st_size == dies_at // block * block * frame
        whole = left.read_bytes()
        left.write_bytes(whole[: max(0, len(whole) - lost)])  # a write that was cut
        again, done = Memory(), []
        values = open_cache(path, pictures(again), done.append)
    np.testing.assert_array_equal(values, FRAMES)
    assert again.begun == [max(0, len(whole) - lost) // frame]
    assert sum(done) == len(FRAMES)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_finished_file_is_only_opened(tmp_path):
    path, source = tmp_path / "x-4x5x3-1.raw", Memory()
    open_cache(path, pictures(source), ignore)
    done = []
    values = open_cache(path, pictures(source), done.append)
    assert source.begun == [0]
    assert done == [len(FRAMES)]
    np.testing.assert_array_equal(values, FRAMES)
    assert not values.flags.writeable
    assert isinstance(values.base, np.memmap)


def test_only_one_process_makes_the_file(tmp_path):
    path = tmp_path / "x-4x5x3-1.raw"
    sources = [Memory(pause=0.002) for _ in range(3)]
    threads = [threading.Thread(target=open_cache, args=(path, pictures(source), ignore)) for source in sources]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(len(source.begun) for source in sources) == 1


def test_older_versions_of_the_same_pictures_go(tmp_path):
    for name in ("x-4x5x3-old.raw", "x-4x5x3-older.tmp", "x-8x8x3-1.raw", "xx-4x5x3-1.raw"):
        (tmp_path / name).write_bytes(b"1")
    open_cache(tmp_path / "x-4x5x3-new.raw", pictures(Memory()), ignore)
    left = sorted(file.name for file in tmp_path.iterdir())
    assert left == ["x-4x5x3-new.raw", "x-8x8x3-1.raw", "xx-4x5x3-1.raw"]


def test_a_full_disk_is_told_before_the_work(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(image_cache.shutil, "disk_usage", lambda folder: usage(10, 9, 1))
    with pytest.raises(UserError, match=r"need 0\.0 GB more .* another cache folder"):
        open_cache(tmp_path / "x-4x5x3-1.raw", pictures(Memory()), ignore)


def test_the_folder_is_where_caches_belong(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "robolearn"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_folder() == Path.home() / ".cache" / "robolearn"


@pytest.mark.parametrize("storage", ["image", "h264"])
def test_beyond_the_budget_pictures_are_mapped(tmp_path, monkeypatch, storage):
    root = tmp_path / "set"
    lerobot_sets.write(root, storage)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    in_memory = EpisodeDataset.load(root, images=ImageOptions())
    assert not (tmp_path / "cache").exists()
    mapped = EpisodeDataset.load(root, images=ImageOptions(budget=0))
    (folder,) = (tmp_path / "cache" / "robolearn").iterdir()
    assert len(list(folder.iterdir())) == len(CAMERAS)
    frames = np.arange(mapped.num_frames)
    for key in CAMERAS:
        np.testing.assert_array_equal(mapped.images[key].take(frames), in_memory.images[key].take(frames))

    with monkeypatch.context() as patch:
        patch.setattr(Pictures, "blocks", lambda *args: pytest.fail("decoded twice"))
        again = EpisodeDataset.load(root, images=ImageOptions(budget=0))
    np.testing.assert_array_equal(again.images[key].pixels, mapped.images[key].pixels)

    smaller = EpisodeDataset.load(root, images=ImageOptions(budget=0, folder=tmp_path / "here", size=(8, 8)))
    assert smaller.images[key].pixels.shape[1:] == (8, 8, 3)
    assert (tmp_path / "here").exists()


def test_another_content_has_another_file(tmp_path):
    root = tmp_path / "set"
    lerobot_sets.write(root, "image", cameras=CAMERAS[:1])
    files = sorted(root.glob("data/*/*.parquet"))

    def path():
        return cache_path(tmp_path, root, CAMERAS[0], (64, 80, 3), files)

    first = path()
    assert path() == first
    assert cache_path(tmp_path, root, CAMERAS[0], (8, 8, 3), files).parent == first.parent
    (episodes,) = root.glob("meta/episodes/*/*.parquet")
    for file in (files[0], episodes, root / "meta/info.json"):
        before, now = file.read_bytes(), path()
        file.write_bytes(before + b" ")
        assert path() != now
        file.write_bytes(before)
    assert path() == first
