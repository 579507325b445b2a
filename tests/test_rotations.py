import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from robolearn.rotations import matrix_from_quat, quat_about_z, quat_from_vector

numbers = st.floats(-1, 1, allow_subnormal=False)


@st.composite
def quaternions(draw):
    quat = np.array(draw(st.tuples(numbers, numbers, numbers, numbers)))
    norm = np.linalg.norm(quat)
    return quat / norm if norm > 1e-3 else np.array((1.0, 0.0, 0.0, 0.0))


@given(quaternions())
def test_matrices_are_scipys(quat):
    expected = Rotation.from_quat(quat, scalar_first=True).as_matrix()
    assert matrix_from_quat(quat) == pytest.approx(expected, abs=1e-12)


def test_a_quarter_turn_about_z():
    rot = matrix_from_quat(quat_about_z(np.array(np.pi / 2)))
    assert rot @ (1, 0, 0) == pytest.approx((0, 1, 0))


def test_batches_are_what_their_parts_are():
    quats = np.random.default_rng(0).normal(size=(3, 2, 4))
    quats /= np.linalg.norm(quats, axis=-1, keepdims=True)
    rots = matrix_from_quat(quats)
    assert rots.shape == (3, 2, 3, 3)
    assert rots[2, 1] == pytest.approx(matrix_from_quat(quats[2, 1]))


@given(st.tuples(*[st.floats(-4, 4)] * 3))
def test_rotation_vectors_are_scipys(vector):
    matrix = matrix_from_quat(quat_from_vector(np.array(vector)))
    np.testing.assert_allclose(matrix, Rotation.from_rotvec(vector).as_matrix(), rtol=0, atol=1e-12)
