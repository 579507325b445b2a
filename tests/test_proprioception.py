"""Observation channels: names, order, and what stands in them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from robolearn.proprioception import (
    POSE_DIM,
    POSE_NAMES,
    objects_of,
    pose_vector,
    poses_feature,
    proprioception,
    state_feature,
)
from robolearn.rotations import matrix_from_quat, quat_about_z
from robolearn.sim.robots.panda import PANDA

joints = st.tuples(*(st.floats(low, high) for low, high in zip(PANDA.lower, PANDA.upper, strict=True))).map(np.array)


@given(joints, st.floats(0, 0.08))
def test_the_state_holds_what_its_names_say(q, width):
    values = dict(zip(state_feature(PANDA).names, proprioception(PANDA, q, np.array(width)), strict=True))
    tool = PANDA.chain.forward(q)
    for i, name in enumerate(PANDA.joint_names):
        assert values[name] == np.float32(q[i])
    assert values["gripper_width"] == np.float32(width)
    for i, axis in enumerate("xyz"):
        assert abs(values[f"tool_{axis}"] - tool.tool_pos[i]) < 1e-6
    for row in range(3):
        for column in range(2):
            assert abs(values[f"tool_r{row + 1}{column + 1}"] - tool.tool_rot[row, column]) < 1e-6


def test_leading_axes_are_kept():
    q = np.zeros((4, 2, 7))
    state = proprioception(PANDA, q, np.full((4, 2), 0.03))
    assert state.shape == (4, 2, *state_feature(PANDA).shape)
    assert state.dtype == np.float32
    np.testing.assert_array_equal(state[0, 0], state[3, 1])


@given(st.lists(st.floats(-1, 1), min_size=4, max_size=4).map(np.array).filter(lambda q: np.linalg.norm(q) > 0.1))
def test_a_pose_does_not_depend_on_the_sign_of_its_quaternion(quat):
    quat = quat / np.linalg.norm(quat)
    pos = np.array((0.1, 0.2, 0.3))
    pose = dict(zip(POSE_NAMES, pose_vector(pos, quat), strict=True))
    np.testing.assert_allclose(pose_vector(pos, -quat), list(pose.values()))
    matrix = matrix_from_quat(quat)
    assert [pose["x"], pose["y"], pose["z"]] == pos.tolist()
    np.testing.assert_allclose([pose["r11"], pose["r21"], pose["r31"]], matrix[:, 0])
    np.testing.assert_allclose([pose["r12"], pose["r22"], pose["r32"]], matrix[:, 1])


def test_a_turn_about_the_vertical_is_seen():
    pose = dict(zip(POSE_NAMES, pose_vector(np.zeros(3), quat_about_z(np.array(0.3))), strict=True))
    assert np.isclose(np.arctan2(pose["r21"], pose["r11"]), 0.3)


def test_objects_are_found_by_their_names():
    feature = poses_feature(("cube", "box_x", "mug"))
    assert feature.shape == (3 * POSE_DIM,)
    assert len(feature.unit) == len(feature.names) == 3 * POSE_DIM
    assert objects_of(feature) == ("cube", "box_x", "mug")
    assert objects_of(poses_feature(())) == ()
