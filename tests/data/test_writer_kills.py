"""A writer that dies at any moment leaves a readable dataset, and its successor completes it to the same files."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from written_sets import CAMERAS, SENTENCES, add, make_frames, make_schema, open_writer

from robolearn.data import layout
from robolearn.data import writer as writer_module
from robolearn.data.dataset import EpisodeDataset
from robolearn.errors import UserError

SCHEMA = make_schema(cameras=CAMERAS[:1], size=(24, 32))
LENGTHS = [4, 3, 5]


class KilledError(BaseException):
    """No handler of errors sees it, as none sees SIGKILL."""


class Life:
    """Counts what is done to files, and ends before the n-th of it. Afterwards nothing can be done at all."""

    def __init__(self, left=10**9):
        self.left, self.used = left, 0

    def wrap(self, function):
        def guarded(*arguments, **options):
            self.used += 1
            if self.used > self.left:
                raise KilledError
            return function(*arguments, **options)

        return guarded


def write(root, patch, life, *, video):
    """Write all episodes with only so much life; returns how many were added."""
    places = [(os, "replace"), (os, "pwrite"), (Path, "unlink"), (Path, "write_bytes"), (Path, "write_text")]
    places += [(pq, "write_table"), (pq.ParquetWriter, "write_table"), (writer_module, "write_video")]
    added = 0
    with patch.context() as context:
        for owner, name in places:
            context.setattr(owner, name, life.wrap(getattr(owner, name)))
        try:
            writer = reopen(root, video=video)
            for i, length in enumerate(LENGTHS):
                add(writer, [length], first=i)
                added += 1
            writer.finalize()
        except KilledError:
            pass
    return added


def reopen(root, *, video):
    return open_writer(root, schema=SCHEMA, video=video, stage_sentences=SENTENCES, episodes_per_file=2)


def complete(root, *, video):
    writer = reopen(root, video=video)
    found = writer.num_episodes
    add(writer, LENGTHS[found:], first=found)
    writer.finalize()
    return found


def require_same_files(root, other):
    names = [sorted(str(p.relative_to(r)) for p in r.rglob("*") if p.is_file()) for r in (root, other)]
    assert names[0] == names[1]
    for name in names[0]:
        mine, theirs = root / name, other / name
        if name.endswith(".parquet"):
            assert pq.read_table(mine).equals(pq.read_table(theirs)), name
        elif name.endswith("stats.json"):  # equal up to rounding
            a, b = (json.loads(path.read_text()) for path in (mine, theirs))
            np.testing.assert_allclose(a["action"]["std"], b["action"]["std"], rtol=1e-12)
        else:
            assert mine.read_bytes() == theirs.read_bytes(), name


def require_readable(root, added):
    """What was added is there, and perhaps the one that was being added."""
    data = EpisodeDataset.load(root)
    assert data.num_episodes in (added, added + 1)
    for i in range(data.num_episodes):
        frames = make_frames(LENGTHS[i], i, SCHEMA)
        np.testing.assert_array_equal(data.episode(i)["action"], frames["action"])


def require_readable_by_lerobot(root, added):
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    dataset = LeRobotDataset("user/set", root=root)
    assert dataset.num_episodes in (added, added + 1)
    place = 0
    for i in range(dataset.num_episodes):
        frames = make_frames(LENGTHS[i], i, SCHEMA)
        for t in range(LENGTHS[i]):
            sample = dataset[place]
            np.testing.assert_array_equal(sample["action"], frames["action"][t])
            difference = sample[CAMERAS[0]].numpy().transpose(1, 2, 0) * 255 - frames[CAMERAS[0]][t]
            assert np.abs(difference).mean() < 4  # videos lose something
            place += 1


def require_complete_after(root, added, whole, *, video):
    if added:
        require_readable(root, added)
    assert complete(root, video=video) in (added, added + 1)
    require_same_files(root, whole)


@pytest.fixture(scope="module", params=["video", "image"])
def storage(request):
    return request.param


@pytest.fixture(scope="module")
def whole(storage, tmp_path_factory):
    """A dataset that nobody disturbed, and how much was done to files for it."""
    root, life = tmp_path_factory.mktemp("whole"), Life()
    with pytest.MonkeyPatch.context() as patch:
        assert write(root, patch, life, video=storage == "video") == len(LENGTHS)
    return root, life.used


def test_some_kills_lose_nothing(whole, storage, tmp_path, monkeypatch):
    for moment in range(3, whole[1], 8):
        added = write(tmp_path / str(moment), monkeypatch, Life(moment), video=storage == "video")
        require_complete_after(tmp_path / str(moment), added, whole[0], video=storage == "video")


@pytest.mark.slow
def test_a_kill_at_any_moment_loses_nothing_and_lerobot_reads_what_is_left(whole, storage, tmp_path, monkeypatch):
    assert whole[1] > 60  # things done to files
    for moment in range(whole[1]):
        root = tmp_path / str(moment)
        added = write(root, monkeypatch, Life(moment), video=storage == "video")
        if added:
            require_readable_by_lerobot(root, added)
        require_complete_after(root, added, whole[0], video=storage == "video")


def test_leftovers_are_cleared_away(tmp_path):
    writer = reopen(tmp_path, video=True)
    add(writer, LENGTHS)
    strays = [
        layout.data_file(tmp_path, 7),
        layout.video_file(tmp_path, CAMERAS[0], 3),
        tmp_path / "meta/.info.json.tmp",
        tmp_path / "videos/.x.mp4.tmp",
    ]
    for stray in strays:
        stray.write_bytes(b"half a file")
    reopen(tmp_path, video=True)
    assert not [stray for stray in strays if stray.exists()]


def test_a_lost_video_is_told(tmp_path):
    add(reopen(tmp_path, video=True), LENGTHS)
    layout.video_file(tmp_path, CAMERAS[0], 1).unlink()
    with pytest.raises(UserError, match=r"file-001\.mp4 is missing, though the metadata lists it"):
        reopen(tmp_path, video=True)


CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_writer_kills import LENGTHS, reopen
from written_sets import add

writer = reopen(Path(sys.argv[1]), video=True)
while True:
    number = writer.num_episodes
    print(number, flush=True)
    add(writer, [LENGTHS[number % 3]], first=number)
"""


@pytest.mark.slow
def test_sigkill_at_twenty_moments_loses_nothing(tmp_path):
    rng = np.random.default_rng(0)
    told = 0
    for _ in range(20):
        command = [sys.executable, "-c", CHILD, str(tmp_path), str(Path(__file__).parent)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        first, _ = (int(child.stdout.readline()) for _ in range(2))  # the second when an episode was added
        assert first >= told
        time.sleep(rng.uniform(0, 0.2))
        child.kill()
        told = max([first + 1, *(int(line) for line in child.communicate()[0].split("\n") if line)])
        assert EpisodeDataset.load(tmp_path).num_episodes >= told
    writer = reopen(tmp_path, video=True)
    writer.finalize()
    data = EpisodeDataset.load(tmp_path)
    assert data.num_episodes == writer.num_episodes >= told > 20
    for i in range(data.num_episodes):
        np.testing.assert_array_equal(data.episode(i)["action"], make_frames(LENGTHS[i % 3], i, SCHEMA)["action"])
        assert layout.video_file(tmp_path, CAMERAS[0], i).exists()
