"""Preference from interventions: labels, loss by hand, and a policy that learns what people showed it."""

import math

import numpy as np
import pytest
import torch
from on_policy_toy import make_algorithm, make_policy, success
from rl_toy import Biased, Point, make_units

from robolearn.acting import ChunkActor
from robolearn.commands.demonstrations import episodes_of, load_demonstrations
from robolearn.data.replay import Trajectory
from robolearn.data.writer import DatasetWriter
from robolearn.errors import UserError
from robolearn.policies.losses import reduced
from robolearn.rl.apo import APO, GOES_ON, LABEL, goes_on, labels, relevance
from robolearn.rl.experience import Batch, Experience, relabelled
from robolearn.rl.offline import OfflineTrainer
from robolearn.rl.reads import HISTORY
from robolearn.schema import Feature, Schema

SETTINGS = {"updates": 200, "batch_size": 128, "learning_rate": 1e-3, "stopped_seconds": 0.3, "eval_every": 1000}


def make(policy=None, **changes):
    return make_algorithm(APO, "apo", make_policy(train=300) if policy is None else policy, **SETTINGS | changes)


def flags(text):
    return np.array([letter == "p" for letter in text])


# ---------------------------------------------------------------- labels


@pytest.mark.parametrize(
    ("frames", "solved", "expected"),
    [
        ("....pp..", True, "++--++++"),
        ("....pp..", False, "00--++00"),
        ("pp..p.p.", False, "++--+-+0"),  # begins with a person: nobody was stopped
        (".p......", False, "-+000000"),
        ("........", True, "++++++++"),
        ("........", False, "00000000"),
    ],
)
def test_what_a_person_did_is_desirable_and_what_came_before_is_not(frames, solved, expected):
    found = labels(flags(frames), before=2, success=solved)
    assert "".join("-0+"[int(label) + 1] for label in found) == expected


def test_chunks_end_where_somebody_else_acts_or_the_label_changes():
    same = np.ones(6, np.float32)
    assert goes_on(flags("..ppp."), same).tolist() == [2, 1, 3, 2, 1, 1]
    assert goes_on(flags("p"), same[:1]).tolist() == [1]
    stopped = np.array([1, 1, 1, -1, -1, 1], np.float32)
    assert goes_on(flags(".....p"), stopped).tolist() == [3, 2, 1, 2, 1, 1]


def test_a_short_chunk_weighs_as_a_long_one_with_the_same_error():
    policy = make_policy(train=0)
    algorithm = make(policy)
    full = policy.horizon
    state = torch.zeros(2, 1, *policy.schema["observation.state"].shape)
    frames = {f"{HISTORY}observation.state": state, GOES_ON: torch.tensor([full, 1])}
    inside = torch.ones(2, full, dtype=torch.bool)
    batch = Batch(frames, torch.zeros(2, full, 1), inside, torch.zeros(2), torch.zeros(2), {})
    # a policy that is wrong by one everywhere
    algorithm.actor.forward = algorithm.reference.forward = lambda given, reduction, **_: (
        reduced(torch.ones(2, full), given["action_is_pad"], reduction),
        {},
    )
    for losses in algorithm.sample_losses(batch):
        torch.testing.assert_close(losses, torch.ones(2))


def test_a_diffusion_policy_is_asked_at_its_own_levels(tmp_path):
    algorithm = make(make_policy("diffusion", train=20), updates=20)
    shown = watched(algorithm.policy, 3)
    curve = OfflineTrainer(algorithm, algorithm.config, seed=0, out=tmp_path).run(shown, evaluate=lambda acting: 0.0)
    assert np.isfinite(curve[-1]["loss"])


def test_what_others_do_later_is_no_part_of_a_chunk():
    policy = make_policy(train=0)
    algorithm = make(policy)
    frames = {"observation.state": np.zeros((6, 2)), "action": np.zeros((6, 1)), "intervention": np.zeros((6, 1))}
    losses = []
    for later in (0.0, 0.2):
        episode = {key: values.astype(np.float32) for key, values in frames.items()}
        episode["intervention"][2:] = 1.0
        episode["action"][2:] = later
        (one,) = relabelled([episode], policy, make_units(Point.schema), seed=0, successes=[False], reads=True)
        experience = Experience(capacity=1, demo_ratio=1.0, gamma=0.9, seed=0, complete=algorithm.complete)
        experience.show([one])
        batch = experience.batch(64, steps=policy.horizon)
        algorithm.generator.manual_seed(0)
        losses.append(algorithm.sample_losses(batch)[0][batch.frames[LABEL] < 0].detach())
        assert set(batch.frames[GOES_ON][batch.frames[LABEL] < 0].tolist()) == {1, 2}
    torch.testing.assert_close(losses[0], losses[1])


def test_a_dataset_that_does_not_say_who_acted_is_refused():
    frames = {"obs": np.zeros((3, 2), np.float32)}
    one = Trajectory(frames, np.zeros((2, 1), np.float32), np.zeros(2, np.float32), terminated=True, success=True)
    with pytest.raises(UserError, match="needs a channel 'intervention'"):
        make(make_policy(train=0)).complete(one)


def test_a_policy_of_others_is_refused():
    with pytest.raises(UserError, match="algo=apo changes the weights"):
        make(Biased())


def test_a_dataset_carries_who_acted(tmp_path):
    told = Feature("float32", (1,), ("person",), ("1",), "annotation")
    schema = Schema({**Point.schema.features, "intervention": told}, fps=20)
    frames = {"observation.state": np.zeros((6, 2), np.float32), "action": np.zeros((6, 1), np.float32)}
    frames["intervention"] = flags("..pp..")[:, None].astype(np.float32)
    writer = DatasetWriter(tmp_path / "set", schema=schema, robot_type="point")
    writer.add_episode(frames, task="go to the goal")
    writer.finalize()
    (episode,) = episodes_of(load_demonstrations(tmp_path / "set", Point.schema))
    np.testing.assert_array_equal(episode["intervention"], frames["intervention"])


# ---------------------------------------------------------------- loss


def test_at_first_the_policy_is_the_reference():
    algorithm = make(make_policy(train=20))
    shown = watched(algorithm.policy, 2)
    experience = Experience(capacity=1, demo_ratio=1.0, gamma=0.9, seed=0, complete=algorithm.complete)
    experience.show(shown)
    batch = experience.batch(32, steps=algorithm.policy.horizon)
    loss, reference = algorithm.sample_losses(batch)
    torch.testing.assert_close(loss.detach(), reference)
    label = torch.where(batch.frames[LABEL] == 0, 1.0, batch.frames[LABEL])
    assert algorithm.preference_loss(loss, reference, label).item() == pytest.approx(0.5, abs=1e-4)


def test_the_preference_is_that_of_the_formula():
    algorithm = make(make_policy(train=0), beta=10.0, desirable_weight=2.0, undesirable_weight=3.0)
    loss, reference = torch.tensor([0.2, 0.5]), torch.tensor([0.4, 0.4])
    good, bad = 10 * 0.2, 10 * -0.1
    point = (good + bad) / 2

    def sigma(x):
        return 1 / (1 + math.exp(-x))

    # with one chunk of each kind every relevance is 1
    expected = (2 * (1 - sigma(good - point)) + 3 * (1 - sigma(point - bad))) / 2
    found = algorithm.preference_loss(loss, reference, torch.tensor([1.0, -1.0]))
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_a_policy_that_became_worse_has_its_reference_point_at_zero():
    algorithm = make(make_policy(train=0), beta=10.0)
    loss, reference = torch.tensor([0.5]), torch.tensor([0.4])
    found = algorithm.preference_loss(loss, reference, torch.tensor([1.0]))
    assert found.item() == pytest.approx(1 - 1 / (1 + math.exp(1.0)), rel=1e-5)


def test_its_slope_raises_the_likelihood_of_good_chunks_and_lowers_that_of_bad_ones():
    algorithm, label = make(make_policy(train=0)), torch.tensor([1.0, 1.0, -1.0, -1.0])
    loss = torch.tensor([0.1, 0.3, 0.1, 0.3], requires_grad=True)
    (slope,) = torch.autograd.grad(algorithm.preference_loss(loss, torch.full((4,), 0.2), label), loss)
    assert (slope[:2] > 0).all()  # descending lowers the loss of good chunks
    assert (slope[2:] < 0).all()


def test_what_is_not_done_yet_and_what_is_still_done_weighs_more():
    weight = relevance(torch.tensor([0.1, 0.5, 0.1, 0.5]), torch.tensor([True, True, False, False]))
    assert weight[1] > weight[0]
    assert weight[2] > weight[3]
    torch.testing.assert_close(weight[:2].mean(), torch.tensor(1.0))
    torch.testing.assert_close(weight[2:].mean(), torch.tensor(1.0))


# ---------------------------------------------------------------- as a whole


def watched(policy, count, *, after=8):
    """Episodes of the policy in which a person takes over after some steps and goes straight to the goal."""
    episodes, solved = [], []
    for seed in range(count):
        env, actor = Point(1), ChunkActor(policy, 1)
        actor.reset([seed])
        observation, _ = env.reset(seed=20_000 + seed)
        rows = {"observation.state": [], "action": [], "intervention": []}
        for step in range(env.max_episode_steps):
            state, action = observation["observation.state"], actor.act(observation)
            if step >= after:
                action = np.clip(0.5 * (state[:, 1:] - state[:, :1]), -0.2, 0.2)
            for key, value in zip(rows, (state[0], action[0], [float(step >= after)]), strict=True):
                rows[key].append(value)
            observation, _, terminated, *_ = env.step(action)
            if terminated[0]:
                break
        solved.append(bool(terminated[0]))
        episodes.append({key: np.array(values, np.float32) for key, values in rows.items()})
    return relabelled(episodes, policy, make_units(Point.schema), seed=0, successes=solved, reads=True)


def test_it_learns_from_interventions_alone(tmp_path):
    algorithm = make(imitation_weight=0.0)
    shown = watched(algorithm.policy, 30)
    curve = OfflineTrainer(algorithm, algorithm.config, seed=0, out=tmp_path).run(shown, evaluate=success)
    assert curve[0]["success"] < 0.5
    assert curve[-1]["success"] > 0.9
    assert curve[-1]["gained_desirable"] > curve[-1]["gained_undesirable"]
    algorithm.save(tmp_path)
    assert (tmp_path / "model.safetensors").exists()


def test_what_was_stopped_becomes_rarer_even_without_a_better_example(tmp_path):
    algorithm = make(imitation_weight=0.0, desirable_weight=0.0, updates=30)
    shown = watched(algorithm.policy, 10)
    curve = OfflineTrainer(algorithm, algorithm.config, seed=0, out=tmp_path).run(shown, evaluate=lambda acting: 0.0)
    assert curve[-1]["gained_undesirable"] < -0.01


def test_a_stopped_training_goes_on_with_the_same_reference(tmp_path):
    algorithm = make(make_policy(train=20), updates=3)
    shown = watched(algorithm.policy, 2)
    OfflineTrainer(algorithm, algorithm.config, seed=0, out=tmp_path).run(shown, evaluate=lambda acting: 0.0)
    again = make(make_policy(train=20), updates=6)
    trainer = OfflineTrainer(again, again.config, seed=0, out=tmp_path)
    assert again.clock.updates == 3
    pairs = zip(algorithm.reference.parameters(), again.reference.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    pairs = zip(algorithm.actor.parameters(), again.actor.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert len(trainer.run(shown, evaluate=lambda acting: 0.0)) == 3
