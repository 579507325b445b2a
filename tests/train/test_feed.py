"""Batches reach the policy as they are; for a GPU the next one is made ahead."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from robolearn.train.feed import _Ahead, feed, to_tensors


def test_arrays_become_tensors_without_a_copy_and_with_their_types():
    batch = {"picture": np.zeros((2, 4, 4, 3), np.uint8), "x": torch.ones(2)}
    tensors = to_tensors(batch)
    assert tensors["picture"].dtype == torch.uint8
    batch["picture"][0] = 9
    assert tensors["picture"][0].eq(9).all()
    assert tensors["x"] is batch["x"]


def test_on_the_cpu_a_batch_is_made_when_it_is_asked_for():
    made = []
    with feed(lambda step: made.append(step) or {"x": np.full(1, step)}, steps=3, device=torch.device("cpu")) as of:
        assert of(1)["x"].item() == 1
        assert made == [1]


def test_the_next_batch_is_made_by_a_thread_while_one_is_used():
    made, started = [], threading.Event()

    def make(step):
        made.append((step, threading.current_thread() is threading.main_thread()))
        if step == 6:
            started.set()
        return {"x": torch.full((1,), step)}

    with ThreadPoolExecutor(1) as thread:
        batch_of = _Ahead(thread, make, 8)
        assert batch_of(5)["x"].item() == 5
        assert started.wait(10)  # without being asked for
        assert [batch_of(step)["x"].item() for step in (6, 7)] == [6, 7]
    assert made == [(5, True), (6, False), (7, False)]  # none beyond the last


def test_an_error_in_the_thread_is_raised():
    def make(step):
        if step == 1:
            raise ValueError("no such file")
        return {"x": torch.zeros(1)}

    with ThreadPoolExecutor(1) as thread:
        batch_of = _Ahead(thread, make, 3)
        batch_of(0)
        with pytest.raises(ValueError, match="no such file"):
            batch_of(1)
