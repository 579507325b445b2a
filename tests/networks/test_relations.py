"""Where things are from each other's point of view."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robolearn.networks.relations import SCALES, Relations, pose_slots
from robolearn.proprioception import POSE_NAMES, pose_vector, poses_feature
from robolearn.rotations import matrix_from_quat, quat_from_vector
from robolearn.schema import Feature, Schema

STATE, SCENE = "observation.state", "observation.environment_state"
NAMES = ("width", *(f"tool_{name}" for name in POSE_NAMES))
TOOL = Feature("float32", (10,), NAMES, ("m",) * 10, "observation")
SCHEMA = Schema({STATE: TOOL, SCENE: poses_feature(("cube", "bin"), 2)}, fps=20)


def frames(rng, *, move=None):
    """Three bodies in disarray; `move` (matrix [3, 3], shift [3]) takes all of them elsewhere."""
    pos, quat = rng.normal(size=(3, 3)) * 0.05, quat_from_vector(rng.normal(size=(3, 3)))
    vectors = pose_vector(pos, quat)
    rot = matrix_from_quat(quat)
    if move is not None:
        turn, shift = move
        moved = np.concatenate((pos @ turn.T + shift, (turn @ rot)[..., 0], (turn @ rot)[..., 1]), axis=1)
        vectors = moved
    state, scene = np.append(0.04, vectors[0]), np.concatenate((*vectors[1:], (1, 0)))
    return pos, rot, {STATE: torch.tensor(state).float()[None], SCENE: torch.tensor(scene).float()[None]}


def make():
    return Relations(pose_slots(SCHEMA), {STATE: 10, SCENE: 20})


def test_poses_are_found_by_their_names():
    assert pose_slots(SCHEMA) == {STATE: [1], SCENE: [0, 9]}


def test_positions_are_those_in_the_frame_of_the_other():
    pos, rot, seen = frames(np.random.default_rng(0))
    values = make()(seen)[0].numpy()
    expected = [rot[b].T @ (pos[a] - pos[b]) for a in range(3) for b in range(3) if a != b]
    coarse, fine = np.split(values, 2)
    np.testing.assert_allclose(coarse, np.tanh(np.concatenate(expected) / SCALES[0]), atol=1e-5)
    np.testing.assert_allclose(fine, np.tanh(np.concatenate(expected) / SCALES[1]), atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_nothing_changes_when_the_whole_scene_moves(seed):
    rng = np.random.default_rng(seed)
    turn = matrix_from_quat(quat_from_vector(rng.normal(size=3)))
    _, _, here = frames(np.random.default_rng(seed + 1))
    _, _, there = frames(np.random.default_rng(seed + 1), move=(turn, rng.normal(size=3)))
    torch.testing.assert_close(make()(here), make()(there), atol=1e-4, rtol=0)


def test_units_are_undone():
    _, _, seen = frames(np.random.default_rng(2))
    plain, scaled = make(), make()
    offset, scale = np.full(20, 0.3, np.float32), np.full(20, 2.0, np.float32)
    scaled.set_units(SCENE, offset=offset, scale=scale)
    normal = {STATE: seen[STATE], SCENE: (seen[SCENE] - 0.3) / 2.0}
    torch.testing.assert_close(plain(seen), scaled(normal))
    assert plain(seen).shape[-1] == plain.width
