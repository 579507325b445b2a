"""Blocks in this process and in others: the same results in the same order."""

import os
import subprocess
import sys
from collections import deque
from contextlib import closing
from itertools import count, islice, pairwise
from multiprocessing import Pipe
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from launch_jobs import Broken, Squares, squares

from robolearn.errors import UserError
from robolearn.eval.rollout import Episode
from robolearn.launch.episodes import pack, unpack
from robolearn.launch.job import Folder
from robolearn.launch.launcher import Launcher, seed_blocks
from robolearn.launch.local import _give, _receive

BLOCKS = [range(0, 3), range(3, 4), range(4, 9), range(9, 11)]


def test_one_worker_is_this_process():
    results = list(Launcher().map(Squares(), iter(BLOCKS)))
    assert squares(results) == [k * k for k in range(11)]
    assert {int(result["pid"][0]) for result in results} == {os.getpid()}


@pytest.mark.parametrize("workers", [2, 5])
def test_workers_give_the_same_in_the_same_order(workers):
    results = list(Launcher(workers=workers).map(Squares(), iter(BLOCKS)))
    assert squares(results) == [k * k for k in range(11)]
    pids = {int(result["pid"][0]) for result in results}
    assert len(pids) == min(workers, 4)
    assert os.getpid() not in pids


def test_blocks_without_end_may_be_left():
    taken = []

    def endless():
        for k in count():
            taken.append(k)
            yield range(k, k + 1)

    with closing(Launcher(workers=2).map(Squares(), endless())) as results:
        assert squares(islice(results, 3)) == [0, 1, 4]
    assert len(taken) <= 3 + 2  # no worker runs ahead of what is taken by more than a block


@pytest.mark.parametrize("workers", [1, 2])
def test_the_error_of_a_block_is_raised_here(workers):
    results = Launcher(workers=workers).map(Squares(wrong=3), iter(BLOCKS))
    assert squares([next(results)]) == [0, 1, 4]
    with pytest.raises(UserError, match="seed 3 is unlucky"):
        next(results)
    with pytest.raises(UserError, match="there is no such task"):
        next(Launcher(workers=workers).map(Broken(), iter(BLOCKS)))


def test_a_killed_process_is_told(tmp_path):
    with pytest.raises(RuntimeError, match="a worker ended early"):
        list(Launcher(workers=2).map(Squares(deadly=str(tmp_path)), iter(BLOCKS)))


def test_what_a_worker_said_before_its_block_came_is_heard():
    ours, theirs = Pipe()
    theirs.send(UserError("there is no such task"))
    theirs.close()
    busy = deque()
    _give(ours, iter(BLOCKS), busy)
    with pytest.raises(UserError, match="there is no such task"):
        _receive(busy.popleft())


def test_an_unknown_launcher_is_refused():
    with pytest.raises(UserError, match="unknown launcher 'rey'; did you mean 'ray'"):
        Launcher(kind="rey")


def test_ray_is_not_imported_unless_it_is_chosen():
    code = "import sys, robolearn.commands.collect, robolearn.commands.eval; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@given(first=st.integers(0, 10**9), wanted=st.integers(1, 500), num_envs=st.integers(1, 64), workers=st.integers(1, 32))
def test_blocks_follow_each_other_and_fill_the_worlds_once_or_twice(first, wanted, num_envs, workers):
    blocks = list(islice(seed_blocks(first, wanted=wanted, num_envs=num_envs, workers=workers), 4))
    assert blocks[0].start == first
    assert all(a.stop == b.start for a, b in pairwise(blocks))
    assert {num_envs <= len(block) <= 2 * num_envs for block in blocks} == {True}


@given(lengths=st.lists(st.integers(1, 5), min_size=1, max_size=6), recorded=st.booleans())
def test_episodes_survive_packing(lengths, recorded):
    rng = np.random.default_rng(0)
    frames = [
        {"x": rng.normal(size=(n, 2)).astype(np.float32), "picture": rng.integers(0, 255, (n, 3, 3, 3), np.uint8)}
        for n in lengths
    ]
    episodes = [
        Episode(k + 5, k % 2 == 0, n, f"lift ä {k}", frames[k] if recorded else {}) for k, n in enumerate(lengths)
    ]
    packed = pack(episodes)
    assert all(isinstance(x, np.ndarray) and x.dtype != object for x in packed.values())
    for before, after in zip(episodes, unpack(packed), strict=True):
        assert (before.seed, before.success, before.length, before.instruction) == (
            after.seed,
            after.success,
            after.length,
            after.instruction,
        )
        assert before.frames.keys() == after.frames.keys()
        for key, values in before.frames.items():
            np.testing.assert_array_equal(values, after.frames[key])
            assert values.dtype == after.frames[key].dtype


def test_a_folder_is_where_it_is_or_a_copy_on_another_machine(tmp_path):
    source = tmp_path / "policy"
    (source / "inner").mkdir(parents=True)
    (source / "inner" / "weights").write_bytes(b"\x00\x01")
    with Launcher(workers=2).folder(source).here() as path:
        assert path == source
    sent = Launcher(kind="ray").folder(source)
    assert isinstance(sent, Folder)
    with sent.here() as path:
        assert path != source
        assert (path / "inner" / "weights").read_bytes() == b"\x00\x01"
    assert not Path(path).exists()
    assert source.exists()
