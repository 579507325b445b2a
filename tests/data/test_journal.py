"""Episodes on disk: what is written is read, up to where a kill came."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from robolearn.data.journal import Journal, read_journal
from robolearn.data.replay import Trajectory

DTYPES = ("float32", "float64", "uint8", "int16", "int64", "bool")


def make_episode(number, steps=3, *, terminated=True):
    rng = np.random.default_rng(number)
    frames = {f"a {dtype}": (100 * rng.random((steps + 1, 2))).astype(dtype) for dtype in DTYPES}
    frames["picture"] = rng.integers(0, 256, (steps + 1, 4, 5, 3), np.uint8)
    frames["nothing"] = np.zeros((steps + 1, 0), np.float32)
    frames["number"] = np.full(steps + 1, number)
    action = rng.normal(size=(steps, 7)).astype(np.float32)
    reward = rng.normal(size=steps).astype(np.float32)
    return Trajectory(frames, action, reward, terminated, success=not terminated)


def write(folder, numbers, **options):
    journal = Journal(folder)
    for number in numbers:
        journal.append(make_episode(number, **options), {"steps": 10 * number})
    return journal


def numbers_of(folder):
    return [int(trajectory.frames["number"][0]) for trajectory, _ in read_journal(folder)]


def require_same(one, other):
    for mine, theirs in zip((one.action, one.reward), (other.action, other.reward), strict=True):
        np.testing.assert_array_equal(mine, theirs, strict=True)
    assert one.frames.keys() == other.frames.keys()
    for key, values in one.frames.items():
        np.testing.assert_array_equal(values, other.frames[key], strict=True, err_msg=key)
    assert (one.terminated, one.success) == (other.terminated, other.success)


def test_episodes_come_back_as_they_were(tmp_path):
    journal, written = Journal(tmp_path), []
    for number, steps in enumerate((3, 1, 8)):
        written.append(make_episode(number, steps, terminated=number == 1))
        journal.append(written[-1], {"steps": number, "who": "actor 2"})
    journal.close()
    for number, (trajectory, note) in enumerate(read_journal(tmp_path)):
        require_same(trajectory, written[number])
        assert note == {"steps": number, "who": "actor 2"}
    assert len(list(read_journal(tmp_path))) == 3


def test_an_episode_can_be_read_as_soon_as_it_is_written(tmp_path):
    journal = Journal(tmp_path / "new")
    assert not (tmp_path / "new").exists()
    for number in range(3):
        journal.append(make_episode(number), {})
        assert numbers_of(tmp_path / "new") == list(range(number + 1))


def test_an_empty_or_missing_folder_has_no_episodes(tmp_path):
    assert numbers_of(tmp_path) == numbers_of(tmp_path / "none") == []


def test_runs_are_read_in_their_order(tmp_path):
    for run in range(12):
        write(tmp_path, (2 * run, 2 * run + 1)).close()
    assert numbers_of(tmp_path) == list(range(24))
    assert len(list(tmp_path.iterdir())) == 12


def test_a_run_never_writes_to_the_file_of_another(tmp_path):
    for number in range(3):
        write(tmp_path, (number,)).close()
    (tmp_path / "episodes-00000.arrows").unlink()
    write(tmp_path, (3,)).close()
    assert numbers_of(tmp_path) == [1, 2, 3]


def test_wherever_the_file_is_cut_the_episodes_before_are_read(tmp_path):
    lengths = []
    journal = Journal(tmp_path)
    for number in range(3):
        journal.append(make_episode(number, 1), {})
        lengths.append((tmp_path / "episodes-00000.arrows").stat().st_size)
    whole = (tmp_path / "episodes-00000.arrows").read_bytes()
    for cut in range(lengths[1], lengths[2]):
        (tmp_path / "episodes-00000.arrows").write_bytes(whole[:cut])
        assert numbers_of(tmp_path) == [0, 1], cut


def test_a_file_without_a_whole_episode_is_passed_over(tmp_path):
    write(tmp_path, (0,)).close()
    whole = (tmp_path / "episodes-00000.arrows").read_bytes()
    shutil.copy(tmp_path / "episodes-00000.arrows", tmp_path / "episodes-00001.arrows")
    for cut in range(0, len(whole) // 2, 7):
        (tmp_path / "episodes-00000.arrows").write_bytes(whole[:cut])
        assert numbers_of(tmp_path) == [0]


def test_a_killed_run_is_followed_by_another(tmp_path):
    write(tmp_path, (0, 1))  # not closed
    file = tmp_path / "episodes-00000.arrows"
    file.write_bytes(file.read_bytes()[:-100])
    write(tmp_path, (2, 3))
    assert numbers_of(tmp_path) == [0, 2, 3]


def test_a_full_disk_costs_only_what_did_not_fit(tmp_path):
    lines = (
        "import sys; from pathlib import Path",
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})",
        "from test_journal import write",
        f"write(Path({str(tmp_path)!r}), range(100))",
    )
    # a limit on the size of files is as good as a full disk, except for its number
    limit = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))"
    done = subprocess.run(
        [sys.executable, "-c", "\n".join((limit, *lines))], capture_output=True, text=True, check=False
    )
    assert "File too large" in done.stderr
    found = numbers_of(tmp_path)
    assert found == list(range(len(found)))
    assert len(found) > 3
    write(tmp_path, (1000,))
    assert numbers_of(tmp_path) == [*found, 1000]


CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_journal import make_episode
from robolearn.data.journal import Journal

journal, number = Journal(Path(sys.argv[1])), int(sys.argv[3])
while True:
    journal.append(make_episode(number, 40), {"steps": number})
    print(number, flush=True)
    number += 1
"""


@pytest.mark.slow
def test_sigkill_loses_no_episode_that_was_told_finished(tmp_path, request):
    rng, told = np.random.default_rng(0), -1
    for _ in range(8):
        command = [sys.executable, "-c", CHILD, str(tmp_path), str(request.path.parent), str(told + 1)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert int(child.stdout.readline()) == told + 1
        time.sleep(rng.uniform(0, 0.1))
        child.kill()
        told = max([told + 1, *(int(line) for line in child.communicate()[0].split("\n") if line)])
        found = numbers_of(tmp_path)
        assert found[: told + 1] == list(range(told + 1))
        assert len(found) in (told + 1, told + 2)  # one may have been written whose number was not told
        told = len(found) - 1
    for number, (trajectory, note) in enumerate(read_journal(tmp_path)):
        require_same(trajectory, make_episode(number, 40))
        assert note == {"steps": number}
