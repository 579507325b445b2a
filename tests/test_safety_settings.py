from dataclasses import fields, replace

import numpy as np
import pytest

from robolearn.errors import UserError
from robolearn.robot import RISE
from robolearn.safety_settings import SafetySettings, as_options, from_options
from robolearn.sim.robots import get_robot


def test_what_command_lines_say_is_read_back():
    some = SafetySettings(effort_limits=(20.0, 8.5), allowed_contacts=("a/b", "c/table"), collision_check=False)
    assert from_options(as_options(some)) == some
    assert from_options(as_options(SafetySettings()) | {"bundle": "b"}) == SafetySettings()
    assert from_options({}) == SafetySettings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (spec.name, spec.metadata[end] + step)
        for spec in fields(SafetySettings)
        for end, step in (("low", -1e-3), ("high", 1e-3))
        if spec.metadata[end] is not None
    ],
)
def test_each_value_beyond_its_range_is_refused_by_name(name, value):
    with pytest.raises(UserError, match=f"{name}=.* is out of range: give "):
        SafetySettings(**{name: value})


@pytest.mark.parametrize("spec", [spec for spec in fields(SafetySettings) if isinstance(spec.default, float)])
def test_a_limit_that_is_not_a_number_is_none(spec):
    with pytest.raises(UserError, match=spec.name):
        SafetySettings(**{spec.name: float("nan")})


def test_zero_is_a_limit_and_not_the_lack_of_one():
    assert SafetySettings(force_limit=0.0, tracking_error=0.0).force_limit == 0.0


@pytest.mark.parametrize(
    "options",
    [{"effort_limits": "20,much"}, {"effort_limits": "-1"}, {"effort_limits": "inf"}, {"allowed_contacts": "table"}],
)
def test_lists_that_cannot_be_read_are_refused_by_name(options):
    with pytest.raises(UserError, match=next(iter(options))):
        from_options(options)


def test_every_option_says_what_it_is():
    assert all(len(spec.metadata["help"]) > 10 for spec in fields(SafetySettings))


def test_margin_and_shares_restrict_the_robot():
    robot = get_robot("panda")
    assert SafetySettings().restrict(robot) == replace(robot, max_jerk=robot.jerk_limits)
    less = SafetySettings(position_margin=0.1, velocity_share=0.5, acceleration_share=0.4, jerk_share=0.2)
    restricted = less.restrict(robot)
    np.testing.assert_allclose(np.subtract(restricted.lower, robot.lower), 0.1)
    np.testing.assert_allclose(np.subtract(robot.upper, restricted.upper), 0.1)
    np.testing.assert_allclose(np.divide(restricted.max_velocity, robot.max_velocity), 0.5)
    np.testing.assert_allclose(np.divide(restricted.max_acceleration, robot.max_acceleration), 0.4)
    np.testing.assert_allclose(np.divide(restricted.jerk_limits, robot.jerk_limits), 0.2)


def test_a_jerk_that_the_maker_does_not_give_builds_up_the_acceleration_in_a_moment():
    robot = replace(get_robot("panda"), max_jerk=None)
    np.testing.assert_allclose(np.multiply(robot.jerk_limits, RISE), robot.max_acceleration)
