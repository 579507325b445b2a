"""How a simulated arm may differ from a perfect one."""

import numpy as np
import pytest

from robolearn.errors import UserError
from robolearn.imperfections import Imperfections


def test_zeros_of_joints_are_off_by_no_more_than_is_asked_for_and_stay():
    flaws = Imperfections(encoder_offset=0.01)
    assert np.abs(flaws.offsets(7)).max() <= 0.01
    assert (flaws.offsets(7) != 0).all()
    np.testing.assert_array_equal(flaws.offsets(7), Imperfections(encoder_offset=0.01).offsets(7))
    assert (flaws.offsets(7) != Imperfections(encoder_offset=0.01, seed=1).offsets(7)).any()
    assert (Imperfections().offsets(7) == 0).all()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("latency", -0.1),
        ("noise", float("nan")),
        ("loss", 1.5),
        ("gravity", 1.1),
        ("gain", 0.0),
        ("command_timeout", 0),
        ("jitter", float("inf")),
    ],
)
def test_impossible_flaws_are_refused_by_name(name, value):
    with pytest.raises(UserError, match=name):
        Imperfections(**{name: value})
