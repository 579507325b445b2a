"""A local model in a process of its own."""

import os
import signal
import threading

import numpy as np
import pytest

from robolearn.errors import UserError
from robolearn.rewards.vlm.make import make_vlm
from robolearn.rewards.vlm.prompts import Scene, requests_about
from robolearn.rewards.vlm.separate import SeparateModel

pytest.importorskip("num2words")  # the extra `vla`
from tiny_vlm import write_vlm

FRAMES = np.random.default_rng(0).integers(0, 256, (2, 24, 32, 3), np.uint8)
REQUESTS = requests_about(Scene(FRAMES[0], FRAMES[1], "lift the cube"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_vlm(tmp_path_factory.mktemp("vlm"))


@pytest.mark.slow
def test_it_answers_as_in_this_process_and_its_death_is_told(folder):
    from robolearn.rewards.vlm.local import LocalModel

    model = SeparateModel(folder, device="cpu", max_tokens=8)
    here = LocalModel(folder, device="cpu", max_tokens=8)
    assert model.ask(REQUESTS) == here.ask(REQUESTS)
    assert model.name == here.name
    os.kill(model._process.pid, signal.SIGKILL)
    with pytest.raises(RuntimeError, match="status -9"):
        model.ask(REQUESTS)


def test_what_it_raises_is_raised_here(tmp_path):
    with pytest.raises(UserError, match="no folder"):
        SeparateModel(tmp_path / "nowhere")


@pytest.mark.slow
def test_make_judges_with_the_model_of_a_folder_and_ends_its_process(folder):
    before = set(threading.enumerate())
    with make_vlm(model=str(folder), device="cpu", max_tokens=4, retries=0, every=1) as progress:
        (thread,) = [t for t in threading.enumerate() if t.name == "robolearn-vlm" and t not in before]
        for frame in FRAMES:
            progress.update({"observation.images.external": frame[None]}, ["lift"])
        progress.wait(60)
    thread.join(10)
    counters = progress.counters
    assert (counters.failed, counters.malformed) == (1, 3)
    assert progress._judge._backend._process.exitcode == 0
