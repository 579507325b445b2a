"""Bundles that go wrong are wrong in the way that they shall be."""

import numpy as np
import pytest
from bundle_factory import write_bundle

from robolearn.bench import _control_bundles as bundles
from robolearn.errors import UserError
from robolearn.real.bundle import load_bundle
from robolearn.real.offer import cameras_of


@pytest.fixture
def sound(tmp_path):
    return write_bundle(tmp_path / "sound", action=np.full(5, 0.5))


def chunk_of(path):
    """What its policy would do, and its channels."""
    bundle = load_bundle(path)
    policy = bundle.policy
    shape = {key: bundle.schema[key].shape for key in bundle.schema.observation_keys}
    dtypes = {key: np.uint8 if bundle.schema[key].is_picture else np.float32 for key in shape}
    seen = {key: np.zeros((1, policy.n_obs_steps, *shape[key]), dtypes[key]) for key in shape}
    noise = np.random.default_rng(0).standard_normal((1, *policy.noise_shape)).astype(np.float32)
    return policy.predict_chunk(seen, noise).values[0], bundle.schema


def test_a_policy_explodes(sound, tmp_path):
    chunk, schema = chunk_of(bundles.derived(sound, tmp_path / "b", bundles.explode))
    low, high = np.float32(schema.action.low), np.float32(schema.action.high)
    assert ((chunk == low) | (chunk == high)).all()  # as much as an action may be
    assert not np.allclose(chunk, chunk_of(sound)[0])


def test_a_policy_predicts_what_is_no_number(sound, tmp_path):
    chunk, _ = chunk_of(bundles.derived(sound, tmp_path / "b", bundles.become_nan))
    assert np.isnan(chunk).all()


def test_a_policy_dives(sound, tmp_path):
    chunk, schema = chunk_of(bundles.derived(sound, tmp_path / "b", bundles.dive))
    down = schema.action.names.index("dz")
    assert (chunk[:, down] == np.float32(schema.action.low[down])).all()


def test_a_camera_is_asked_for_and_changes_nothing(sound, tmp_path):
    chunk, schema = chunk_of(bundles.derived(sound, tmp_path / "b", bundles.look))
    assert list(cameras_of(schema)) == ["wrist"]
    np.testing.assert_array_equal(chunk, chunk_of(sound)[0])


def test_another_robot_s_bundle_loads_and_does_not_fit(sound, tmp_path):
    ours, other = load_bundle(sound), load_bundle(bundles.derived(sound, tmp_path / "b", bundles.suit_another_robot))
    assert set(ours.robot.joint_names) - set(other.robot.joint_names) == {"panda_joint3"}
    with pytest.raises(UserError, match="elbow"):
        other.require_robot(ours.schema)


def test_half_a_file_is_refused_by_its_checksum(sound, tmp_path):
    with pytest.raises(UserError, match="truncated"):
        load_bundle(bundles.derived(sound, tmp_path / "b", bundles.lose_half, hashed=False))
