"""What actors and critics see of vectors and pictures."""

import numpy as np
import picture_toy
import pytest
import torch
from picture_toy import CAMERA, SIDE
from rl_toy import Point, make_config, make_units

from robolearn.networks.relations import Relations, pose_slots
from robolearn.normalize import Normalizer
from robolearn.proprioception import POSE_NAMES, pose_vector, poses_feature
from robolearn.rl.experience import Batch
from robolearn.rl.interaction import BASE
from robolearn.rl.observer import Observer, shifted, tensors
from robolearn.rl.residual import Residual
from robolearn.rl.units import VECTOR, Units
from robolearn.rotations import quat_from_vector
from robolearn.schema import Feature, Schema

UNITS = picture_toy.make_units()
STATE, SCENE = "observation.state", "observation.environment_state"


def make_observer():
    torch.manual_seed(0)
    return Observer(UNITS)


def make_frames(n=6, seed=0):
    rng = torch.Generator().manual_seed(seed)
    pictures = torch.randint(0, 256, (n, SIDE, SIDE, 3), generator=rng, dtype=torch.uint8)
    return {VECTOR: torch.randn(n, 1, generator=rng), CAMERA: pictures, BASE: torch.zeros(n, 1)}


# ---------------------------------------------------------------- units


def test_vectors_are_normalised_and_pictures_stay_bytes():
    frame = {
        "observation.state": np.array([[0.6], [-0.3]], np.float32),
        CAMERA: np.full((2, SIDE, SIDE, 3), 7, np.uint8),
    }
    seen = UNITS.frame(frame)
    assert seen.keys() == {VECTOR, CAMERA}
    np.testing.assert_allclose(seen[VECTOR], [[2.0], [-1.0]], rtol=1e-6)
    assert seen[CAMERA].dtype == np.uint8
    frame[CAMERA][:] = 9  # worlds write to the same memory again
    assert (seen[CAMERA] == 7).all()


def test_pictures_alone_are_enough():
    schema = picture_toy.make_schema().select([CAMERA, "action"])
    units = Units(Normalizer(schema, {}), schema)
    frame = units.frame({CAMERA: np.zeros((5, SIDE, SIDE, 3), np.uint8)})
    assert frame[VECTOR].shape == (5, units.obs_dim) == (5, 0)
    observer = Observer(units)
    assert observer({key: torch.from_numpy(values) for key, values in frame.items()}).shape == (5, observer.dim)


def test_actions_go_to_the_unit_box_and_back():
    action = np.array([[0.2], [-0.1], [0.4]], np.float32)
    np.testing.assert_allclose(UNITS.action(action), [[1.0], [-0.5], [1.0]])
    np.testing.assert_allclose(UNITS.physical(UNITS.action(action)), [[0.2], [-0.1], [0.2]])


# ---------------------------------------------------------------- features


def test_without_pictures_what_is_seen_is_the_vector():
    observer, vector = Observer(make_units(Point.schema)), torch.randn(4, 2)
    assert list(observer.parameters()) == []
    assert observer({VECTOR: vector}) is vector


def test_features_of_a_picture_come_after_the_vector_and_are_bounded():
    observer, frames = make_observer(), make_frames()
    seen = observer(frames)
    assert seen.shape == (6, observer.dim) == (6, 1 + 64)
    assert torch.equal(seen[:, :1], frames[VECTOR])
    assert seen[:, 1:].abs().max() <= 1
    assert seen[:, 1:].std(dim=0).max() > 0.01  # pictures are told apart


def test_a_frame_is_seen_alike_in_any_batch():
    observer, frames = make_observer(), make_frames()
    alone = torch.cat([observer({key: values[k : k + 1] for key, values in frames.items()}) for k in range(6)])
    torch.testing.assert_close(alone, observer(frames), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("side", "most"), [(84, 4), (32, 2), (10, 0)])
def test_pictures_are_shifted_by_whole_pixels_and_filled_with_their_edge(side, most):
    rows = torch.arange(side, dtype=torch.uint8)
    picture = torch.stack((rows[:, None].expand(side, side), rows.expand(side, side)), dim=-1)  # shows (row, column)
    moved = shifted(picture.expand(300, -1, -1, -1), torch.Generator().manual_seed(0)).long()
    moves = set()
    for one in moved:
        down, right = (one[side // 2, side // 2] - side // 2).tolist()
        moves.add((down, right))
        assert torch.equal(one[:, 0, 0], (rows.long() + down).clamp(0, side - 1))
        assert torch.equal(one[0, :, 1], (rows.long() + right).clamp(0, side - 1))
    assert {max(abs(a), abs(b)) for a, b in moves} == set(range(most + 1))
    assert len(moves) > 0.9 * (2 * most + 1) ** 2


# ---------------------------------------------------------------- who teaches it


def test_what_pictures_show_is_learned_from_the_values_alone():
    learner = Residual(make_config(critic_warmup_updates=0), policy=None, units=UNITS, seed=0)
    with torch.no_grad():
        learner.actor.net.weights[-1].normal_()
    frames = make_frames(16)
    batch = Batch(frames, torch.zeros(16, 1, 1), torch.ones(16, 1) > 0, torch.rand(16), torch.zeros(16), frames)
    learner.critic_loss(batch).backward()
    weights = list(learner.actor.observer.parameters())
    assert all(weight.grad.abs().max() > 0 for weight in weights)
    learner.actor.zero_grad()
    learner.actor_loss(batch, penalty=1.0)[0].backward()
    assert all(weight.grad is None for weight in weights)
    assert {id(w) for w in weights} <= {id(w) for w in learner.optimizers["critic"].param_groups[0]["params"]}


@pytest.mark.parametrize("warmup", [0, 10])
def test_the_target_s_eyes_follow_also_while_the_critics_learn_alone(warmup):
    learner = Residual(make_config(critic_warmup_updates=warmup, tau=0.5), policy=None, units=UNITS, seed=0)
    frames = make_frames(16)
    batch = Batch(frames, torch.zeros(16, 1, 1), torch.ones(16, 1) > 0, torch.rand(16), torch.zeros(16), frames)

    class Same:
        def batch(self, size, *, steps):
            return batch

    before = [weight.clone() for weight in learner.actor_target.observer.parameters()]
    learner.clock.updates = 1
    learner.update(Same())
    now, target = learner.actor.observer.parameters(), learner.actor_target.observer.parameters()
    for old, new, followed in zip(before, now, target, strict=True):
        assert (new != old).any()
        torch.testing.assert_close(followed, (old + new) / 2)


# ---------------------------------------------------------------- poses


def pose_units():
    names = (*(f"tool_{name}" for name in POSE_NAMES),)
    tool = Feature("float32", (9,), names, ("m",) * 9, "observation")
    push = Feature("float32", (1,), ("push",), ("m",), "action", (-1.0,), (1.0,))
    schema = Schema({STATE: tool, SCENE: poses_feature(("cube", "bin")), "action": push}, fps=20)
    rng = np.random.default_rng(0)
    widths = {STATE: 9, SCENE: schema[SCENE].shape[0]}
    found = {key: (rng.normal(size=n) * 0.1, rng.uniform(0.5, 2.0, n)) for key, n in widths.items()}
    statistics = {key: {"mean": mean, "std": std} for key, (mean, std) in found.items()}
    return schema, Units(Normalizer(schema, statistics), schema)


def scene(schema, *, shift):
    """Three bodies, turned differently, all of them moved by `shift`."""
    rng = np.random.default_rng(1)
    vectors = pose_vector(rng.normal(size=(3, 3)) * 0.05 + shift, quat_from_vector(rng.normal(size=(3, 3))))
    return {
        STATE: vectors[:1].astype(np.float32),
        SCENE: vectors[1:].reshape(1, -1).astype(np.float32),
    }


def test_where_bodies_are_from_each_other_is_seen_wherever_they_are():
    schema, units = pose_units()
    observer = Observer(units)
    assert units.poses == (0, 9, 18)
    assert observer.dim == units.obs_dim + 2 * 3 * 3 * 2
    here, there = (observer(tensors(units, scene(schema, shift=s)))[0] for s in (0.0, 0.1))
    assert here.shape == (observer.dim,)
    assert (here - there)[: units.obs_dim].abs().max() > 0.01
    torch.testing.assert_close(here[units.obs_dim :], there[units.obs_dim :], atol=1e-4, rtol=0)
    relations = Relations(pose_slots(schema), {STATE: 9, SCENE: 18})
    physical = {key: torch.from_numpy(values) for key, values in scene(schema, shift=0.0).items()}
    torch.testing.assert_close(here[units.obs_dim :], relations(physical)[0], atol=1e-4, rtol=0)


def test_a_single_pose_has_no_relation():
    schema, _ = pose_units()
    alone = schema.select([STATE, "action"])
    units = Units(Normalizer(alone, {STATE: {"mean": np.zeros(9), "std": np.ones(9)}}), alone)
    assert Observer(units).dim == 9
