"""What a base read at each frame is kept, so that it can be asked again."""

import numpy as np
import pytest
from rl_toy import Scripted, make_units

from robolearn.acting import Acting
from robolearn.data.journal import Journal, read_journal
from robolearn.language import TASK
from robolearn.rl.experience import Experience, relabelled
from robolearn.rl.interaction import Interaction
from robolearn.rl.reads import HISTORY, observation, stored
from robolearn.schema import ActionChunk, Feature, Schema

STATE = "observation.state"


class Remembering:
    """A policy that plans from two frames and keeps what it was given."""

    schema = Scripted.schema
    n_obs_steps, horizon, n_action_steps, noise_shape = 2, 1, 1, None

    def __init__(self, *, reads_task=False):
        self.reads_task, self.given = reads_task, []

    def predict_chunk(self, observation, noise=None, n_samples=1):
        self.given.append({key: values.copy() for key, values in observation.items()})
        return ActionChunk(np.zeros((len(observation[STATE]), 1, 1), np.float32), 0.0, 0.05)


def finished(policy, *, reads=True):
    env = Scripted((3,), ("terminated",))
    acting = Interaction(env, Acting(policy), make_units(policy.schema), seed=0, reads=reads)
    return next(one for _ in range(3) for one in acting.step())


def test_frames_hold_what_the_policy_read_at_each_of_them():
    policy = Remembering()
    episode = finished(policy)
    again = observation(episode.frames, policy)
    np.testing.assert_array_equal(again[STATE], np.concatenate([given[STATE] for given in policy.given[:4]]))
    assert again[STATE][:, :, 2].tolist() == [[0, 0], [0, 1], [1, 2], [2, 3]]  # the first frame is repeated


def test_nothing_is_kept_unless_it_is_asked_for():
    assert not [key for key in finished(Remembering(), reads=False).frames if key.startswith(HISTORY)]


def test_instructions_come_back_as_they_were_told(tmp_path):
    policy = Remembering(reads_task=True)
    journal = Journal(tmp_path)
    journal.append(finished(policy), {})
    journal.close()
    ((episode, _),) = read_journal(tmp_path)
    assert observation(episode.frames, policy)[TASK].tolist() == ["count"] * 4


@pytest.mark.parametrize(("told", "kept"), [("Grüße, 你好", "Grüße, 你好"), ("", ""), ("x" * 300, "x" * 256)])
def test_an_instruction_of_any_letters_is_kept_up_to_a_limit(told, kept):
    policy = Remembering(reads_task=True)
    frames = stored({STATE: np.zeros((1, 2, 3), np.float32), TASK: np.array([told])})
    assert observation(frames, policy)[TASK].tolist() == [kept]


def test_demonstrations_hold_what_the_policy_would_have_read():
    policy = Remembering()
    shown = {STATE: np.arange(9, dtype=np.float32).reshape(3, 3), "action": np.zeros((3, 1), np.float32)}
    (episode,) = relabelled([shown], policy, make_units(policy.schema), seed=0, reads=True)
    rows = shown[STATE]
    expected = [[rows[0], rows[0]], [rows[0], rows[1]], [rows[1], rows[2]], [rows[1], rows[2]]]
    np.testing.assert_array_equal(observation(episode.frames, policy)[STATE], expected)


def test_a_demonstration_that_failed_is_no_success():
    policy = Remembering()
    shown = {STATE: np.zeros((3, 3), np.float32), "action": np.zeros((3, 1), np.float32)}
    bad, good = relabelled([shown, shown], policy, make_units(policy.schema), seed=0, successes=[False, True])
    assert (bad.success, bad.terminated, bad.reward.tolist()) == (False, False, [0, 0, 0])
    assert (good.success, good.terminated, good.reward.tolist()) == (True, True, [0, 0, 1])


def test_the_base_sees_pictures_that_were_not_moved():
    picture = Feature("image", (24, 24, 3), (), (), "observation")
    state = Scripted.schema["observation.state"]
    schema = Schema({STATE: state, "observation.images.top": picture, "action": Scripted.schema.action}, fps=20)
    units = make_units(schema)
    policy = Remembering()
    policy.schema, policy.n_obs_steps = schema, 1
    pictures = np.random.default_rng(0).integers(0, 256, (4, 24, 24, 3), np.uint8)
    shown = {STATE: np.zeros((4, 3), np.float32), "observation.images.top": pictures}
    shown["action"] = np.zeros((4, 1), np.float32)
    (episode,) = relabelled([shown], policy, units, seed=0, reads=True)
    assert "history.observation.images.top" not in episode.frames  # kept once
    experience = Experience(capacity=1, demo_ratio=1.0, gamma=0.9, seed=0)
    experience.show([episode])
    frames = experience.batch(16, steps=1).frames
    seen = observation({key: values.numpy() for key, values in frames.items()}, policy)["observation.images.top"]
    learned = frames["observation.images.top"].numpy()
    assert all(any((one[0] == p).all() for p in pictures) for one in seen)
    assert not all(any((one == p).all() for p in pictures) for one in learned)
