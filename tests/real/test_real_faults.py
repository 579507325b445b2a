"""Faults of an arm's driver, without ROS."""

import json

import numpy as np
import pytest

from robolearn.real.faults import JUMP, KINDS, LATER, PUSH, Faults, Joints

NAMES = ("a", "b", "c")


def joints(position=(0.1, 0.2, 0.3), stamp=5.0):
    zeros = np.zeros(3)
    return Joints(NAMES, np.array(position), zeros, zeros, stamp)


def begun(kind, seconds=1.0):
    faults = Faults()
    faults.begin(json.dumps({"kind": kind, "seconds": seconds}), 10.0)
    return faults


def test_without_a_fault_everything_is_as_measured():
    one = joints()
    assert Faults().joints(one, 0.0) is one
    assert Faults().active(0.0) is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_is_over_when_its_time_is(kind):
    faults, one = begun(kind), joints()
    assert faults.active(10.5) == kind
    assert faults.active(11.0) is None
    assert faults.joints(one, 11.0) is one


def test_a_fault_of_no_seconds_ends_one():
    faults = begun("silent")
    faults.begin('{"kind": "silent", "seconds": 0}', 10.2)
    assert faults.active(10.2) is None


def test_nothing_is_said():
    assert begun("silent").joints(joints(), 10.0) is None


def test_frozen_repeats_all_and_stuck_all_but_the_stamp():
    first, later = joints(), joints((0.5, 0.6, 0.7), stamp=6.0)
    for kind, stamp in (("frozen", 5.0), ("stuck", 6.0)):
        faults = begun(kind)
        faults.joints(first, 10.0)
        told = faults.joints(later, 10.1)
        np.testing.assert_array_equal(told.position, first.position)
        assert told.stamp == stamp


def test_a_second_fault_freezes_what_is_then():
    faults = begun("stuck")
    faults.joints(joints(), 10.0)
    faults.begin('{"kind": "stuck", "seconds": 1}', 20.0)
    later = joints((0.5, 0.6, 0.7))
    np.testing.assert_array_equal(faults.joints(later, 20.0).position, later.position)


def test_values_that_are_wrong():
    one = joints()
    assert np.isnan(begun("nan").joints(one, 10.0).position).tolist() == [True, False, False]
    assert begun("jump").joints(one, 10.0).position[0] == one.position[0] + JUMP
    assert begun("push").joints(one, 10.0).effort[0] == PUSH
    assert begun("clock").joints(one, 10.0).stamp == one.stamp + LATER
    assert list(begun("swapped").joints(one, 10.0).names) == ["b", "a", "c"]
    np.testing.assert_array_equal(one.position, joints().position)  # what was measured stays


@pytest.mark.parametrize("kind", ["blind", "lost", "deaf"])
def test_faults_elsewhere_leave_joint_states_alone(kind):
    one = joints()
    assert begun(kind).joints(one, 10.0) is one


@pytest.mark.parametrize("text", ["{}", '{"kind": "silent"}', '["silent"]', '{"kind": "melted", "seconds": 1}', "x"])
def test_what_is_no_fault_is_said_so(text):
    with pytest.raises(ValueError, match=r"fault|Expecting"):
        Faults().begin(text, 0.0)
