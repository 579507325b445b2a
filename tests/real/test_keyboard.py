"""The keyboard's program on a terminal, without ROS."""

import os
import termios
import threading

import numpy as np
import pytest

from robolearn.real.keys import Keys
from robolearn.real.ros2 import keyboard


@pytest.fixture
def terminal():
    ours, theirs = os.openpty()
    with os.fdopen(theirs) as stream:
        yield ours, stream
    os.close(ours)


def steered(terminal, typed, until):
    """What is published while this is typed, until `until` has been."""
    ours, stream = terminal
    wishes = []

    def publish(wish):
        wishes.append(wish)
        if until(wish):
            os.write(ours, b"q")

    with keyboard.raw(stream):
        os.write(ours, typed)
        keyboard.steer(stream, Keys(speed=0.1, turn=0.5), publish)
    return wishes


def test_keys_are_published_until_the_end(terminal):
    before = termios.tcgetattr(terminal[1])
    wishes = steered(terminal, b"wc", until=lambda wish: wish.twist.any())
    np.testing.assert_allclose(wishes[0].twist, (0.1, 0, 0, 0, 0, 0))
    assert wishes[0].opening == 0.0
    assert termios.tcgetattr(terminal[1]) == before


def test_an_arrow_key_moves_nothing(terminal):
    ours, stream = terminal
    with keyboard.raw(stream):
        os.write(ours, b"\x1b[A")
        threading.Timer(0.1, lambda: os.write(ours, b"q")).start()
        wishes = []
        keyboard.steer(stream, Keys(speed=0.1, turn=0.5), wishes.append)
    assert wishes == []


def test_without_a_terminal_it_says_so(monkeypatch, capsys):
    with open(os.devnull) as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        assert keyboard.main([]) == 2
    assert "terminal" in capsys.readouterr().err
