"""A joystick's messages as wishes."""

import numpy as np
import pytest

from robolearn.errors import UserError
from robolearn.real.joystick import Joystick

STICK = Joystick.of("x=1,y=-0,rz=2", "deadman=4,open=1,close=0", speed=0.2, turn=0.5)
HELD = [0, 0, 0, 0, 1]


def test_axes_move_and_turn_while_the_dead_man_button_is_held():
    wish = STICK.wish([0.5, 1.0, -1.0], HELD)
    np.testing.assert_allclose(wish.twist, (0.2, -0.1, 0, 0, 0, -0.5))
    assert wish.opening is None
    assert STICK.wish([0.5, 1.0, -1.0], [0] * 5) is None


def test_a_stick_at_rest_is_still_and_buttons_open_and_close():
    assert not STICK.wish([0.04, -0.04, 0.0], HELD).twist.any()
    assert STICK.wish([0.0] * 3, [0, 1, 0, 0, 1]).opening == 1.0
    assert STICK.wish([0.0] * 3, [1, 1, 0, 0, 1]).opening == 0.0


@pytest.mark.parametrize(("axes", "buttons"), [([0.0, 0.0], HELD), ([0.0] * 3, [1] * 4), ([np.nan] * 3, HELD)])
def test_a_message_that_lacks_a_part_is_no_wish(axes, buttons):
    assert STICK.wish(axes, buttons) is None


@pytest.mark.parametrize(
    ("axes", "buttons", "message"),
    [
        ("x=1", "open=1", "dead-man button"),
        ("x1", "deadman=0", "joy_axes: 'x1'"),
        ("x=1,zz=2", "deadman=0", "'zz' is unknown; did you mean 'z'"),
        ("x=1", "deadman=0,fire=2", "'fire' is unknown"),
    ],
)
def test_a_mapping_that_cannot_be_is_told(axes, buttons, message):
    with pytest.raises(UserError, match=message):
        Joystick.of(axes, buttons, speed=0.1, turn=0.1)
