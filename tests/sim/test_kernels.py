import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robolearn.proprioception import pose_vector
from robolearn.rotations import matrix_from_quat
from robolearn.sim.kernels import rotation_matrices, write_poses


def some_poses(seed, *lead):
    rng = np.random.default_rng(seed)
    quat = rng.normal(size=(*lead, 4))
    return rng.uniform(-1, 1, (*lead, 3)), quat / np.linalg.norm(quat, axis=-1, keepdims=True)


@given(seed=st.integers(0, 2**32 - 1), worlds=st.integers(1, 5), bodies=st.integers(0, 4), at=st.integers(0, 3))
def test_written_poses_are_pose_vectors_and_the_other_columns_stay(seed, worlds, bodies, at):
    pos, quat = some_poses(seed, worlds, bodies)
    out = np.full((worlds, at + 9 * bodies + 2), 7.0, np.float32)
    write_poses(out, pos, quat, at=at)
    written = out[:, at : at + 9 * bodies].reshape(worlds, bodies, 9)
    np.testing.assert_array_equal(written, pose_vector(pos, quat).astype(np.float32))
    assert (np.delete(out, np.s_[at : at + 9 * bodies], axis=1) == 7.0).all()


@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
def test_rotation_matrices_are_the_definitions_to_the_last_bit(lead):
    _, quat = some_poses(0, *lead)
    np.testing.assert_array_equal(rotation_matrices(quat), matrix_from_quat(quat))


def test_memory_order_does_not_matter():
    pos, quat = some_poses(0, 4, 2)
    straight, out = np.empty((4, 18), np.float32), np.empty((4, 18), np.float32)
    write_poses(straight, pos, quat)
    write_poses(out, np.asfortranarray(pos), np.repeat(quat, 2, axis=0)[::2])
    np.testing.assert_array_equal(out, straight)


@pytest.mark.parametrize(("columns", "at"), [(17, 0), (18, 1), (18, -1)])
def test_poses_that_do_not_fit_are_refused(columns, at):
    pos, quat = some_poses(0, 4, 2)
    with pytest.raises(ValueError, match="do not fit"):
        write_poses(np.zeros((4, columns), np.float32), pos, quat, at=at)


def test_quaternions_have_four_components():
    with pytest.raises(ValueError, match="expected"):
        rotation_matrices(np.zeros((2, 3)))
