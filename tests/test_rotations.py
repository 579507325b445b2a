import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robolearn.rotations import (
    canonical,
    matrix_from_quat,
    quat_about_z,
    quat_from_matrix,
    quat_multiply,
    rotation_vector,
)

numbers = st.floats(-1, 1, allow_subnormal=False)


@st.composite
def quaternions(draw):
    quat = np.array(draw(st.tuples(numbers, numbers, numbers, numbers)))
    norm = np.linalg.norm(quat)
    return quat / norm if norm > 1e-3 else np.array((1.0, 0.0, 0.0, 0.0))


@given(quaternions())
def test_matrices_are_rotations(quat):
    rot = matrix_from_quat(quat)
    assert rot @ rot.T == pytest.approx(np.eye(3), abs=1e-12)
    assert np.linalg.det(rot) == pytest.approx(1)


@given(quaternions())
def test_matrix_and_quaternion_are_inverse(quat):
    back = quat_from_matrix(matrix_from_quat(quat))
    assert back[0] >= 0
    # q and -q are one rotation; w = 0 leaves both
    assert min(np.abs(back - quat).max(), np.abs(back + quat).max()) < 1e-9


@given(quaternions())
def test_canonical_is_the_same_rotation(quat):
    same = canonical(quat)
    assert same[0] >= 0
    assert matrix_from_quat(same) == pytest.approx(matrix_from_quat(quat))


@given(quaternions(), quaternions())
def test_product_of_quaternions_is_product_of_matrices(a, b):
    assert matrix_from_quat(quat_multiply(a, b)) == pytest.approx(matrix_from_quat(a) @ matrix_from_quat(b), abs=1e-12)


@given(st.tuples(numbers, numbers, numbers), st.floats(1e-6, np.pi - 1e-3))
def test_rotation_vector_is_axis_times_angle(axis, angle):
    axis = np.array(axis)
    norm = np.linalg.norm(axis)
    axis = axis / norm if norm > 1e-3 else np.array((0.0, 0.0, 1.0))
    quat = np.array((np.cos(angle / 2), *(np.sin(angle / 2) * axis)))
    assert rotation_vector(matrix_from_quat(quat)) == pytest.approx(angle * axis, abs=1e-7)


def test_no_rotation_has_the_zero_vector():
    assert rotation_vector(np.eye(3)) == pytest.approx(np.zeros(3))


def test_a_quarter_turn_about_z():
    rot = matrix_from_quat(quat_about_z(np.array(np.pi / 2)))
    assert rot @ (1, 0, 0) == pytest.approx((0, 1, 0))
    assert rotation_vector(rot) == pytest.approx((0, 0, np.pi / 2))


def test_batches_are_what_their_parts_are():
    quats = np.random.default_rng(0).normal(size=(3, 2, 4))
    quats /= np.linalg.norm(quats, axis=-1, keepdims=True)
    rots = matrix_from_quat(quats)
    assert rots.shape == (3, 2, 3, 3)
    assert quat_from_matrix(rots)[2, 1] == pytest.approx(quat_from_matrix(rots[2, 1]))
    assert rotation_vector(rots)[0, 1] == pytest.approx(rotation_vector(rots[0, 1]))
