"""Keys of a terminal as wishes."""

import numpy as np
import pytest

from robolearn.real.joystick import AXES
from robolearn.real.keys import GRIPPER, HELP, MOMENT, MOVES, PAUSE, Keys


def pressed(keys, at=0.0):
    made = Keys(speed=0.1, turn=0.5)
    for key in keys:
        made.press(key, at)
    return made


@pytest.mark.parametrize("key", MOVES)
def test_a_key_moves_for_a_moment_and_is_explained(key):
    axis, sign = MOVES[key]
    expected = np.zeros(6)
    expected[AXES.index(axis)] = sign * (0.1 if axis in "xyz" else 0.5)
    np.testing.assert_array_equal(pressed(key).wish(MOMENT).twist, expected)
    assert not pressed(key).wish(MOMENT + 0.01).twist.any()
    assert key in HELP


def test_keys_add_up():
    np.testing.assert_array_equal(pressed("wa").wish(0.0).twist[:3], (0.1, 0.1, 0.0))
    assert not pressed("ws").wish(0.0).twist.any()
    np.testing.assert_array_equal(pressed("W").wish(0.0).twist[:3], (0.1, 0.0, 0.0))


def test_the_arm_stays_in_hand_until_the_key_repeats_and_is_then_handed_back():
    keys = pressed("w")
    assert keys.wish(PAUSE) is not None
    keys.press("w", PAUSE)
    assert keys.wish(PAUSE + MOMENT).twist.any()
    assert keys.wish(2 * PAUSE + 0.01) is None


def test_the_gripper_stays_as_said_while_the_arm_is_in_hand():
    keys = pressed("c")
    assert keys.wish(0.5).opening == GRIPPER["c"]
    assert not keys.wish(0.5).twist.any()
    assert keys.wish(PAUSE + 0.01) is None
    keys.press("w", 5.0)
    assert keys.wish(5.0).opening is None


def test_space_takes_over_without_moving_and_other_keys_mean_nothing():
    assert not pressed(" ").wish(0.1).twist.any()
    assert pressed("?5").wish(0.0) is None
