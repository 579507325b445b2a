"""The loop of off-policy RL: budgets, updates, evaluations and what is kept."""

import numpy as np
import pytest
import torch
from rl_toy import Biased, Point, Scripted, Telltale, Training, demonstrations, never

from robolearn.compose import build, compose
from robolearn.rl.online import judged
from robolearn.rl.residual import Residual
from robolearn.rl.units import VECTOR


class Noted(Residual):
    """Learns nothing; notes at which step each update was made, and how many steps could be drawn then."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.notes = []

    def update(self, experience):
        self.notes.append((self.clock.steps, self.clock.updates, len(experience)))
        return {"loss": torch.tensor(float(len(self.notes)))}


def noted(out, env=None, **changes):
    """A training that has learned nothing, to its end."""
    settings = {"algorithm": Noted, "eval_every": 10**6}
    training = Training(Point(2) if env is None else env, Biased(), out, **(settings | changes))
    training.run(never)
    return training


# ---------------------------------------------------------------- budgets


@pytest.mark.parametrize("num_envs", [1, 2, 5])
def test_steps_are_control_steps_and_updates_keep_their_ratio_to_them(tmp_path, num_envs):
    settings = {"total_steps": 150, "warmup_steps": 100, "critic_warmup_updates": 7, "utd": 0.5}
    training, seen = Training(Point(num_envs), Biased(), tmp_path, algorithm=Noted, **settings), []
    training.run(never, on_progress=lambda steps, recent, metrics: seen.append(steps))
    assert seen == list(range(num_envs, 151, num_envs))
    notes = training.algorithm.notes
    assert [number for _, number, _ in notes] == list(range(1, len(notes) + 1))
    assert len(notes) == 7 + 25
    assert notes[0][0] == notes[6][0] == 100  # the warm-up of the critics comes as soon as the other one is over
    for steps in range(100, 151, num_envs):
        assert sum(at <= steps for at, *_ in notes) == 7 + (steps - 100) // 2


def test_more_updates_than_steps_are_made_where_asked_for(tmp_path):
    training = noted(tmp_path, total_steps=60, warmup_steps=50, critic_warmup_updates=0, utd=4.0)
    assert training.loop.clock.updates == 40


def test_without_demonstrations_learning_waits_for_the_first_episode(tmp_path):
    env = Scripted(lengths=(9, 12))
    training = Training(env, Telltale(), tmp_path, algorithm=Noted, warmup_steps=0, total_steps=40, utd=1.0)
    training.run(never)
    notes = training.algorithm.notes
    assert notes[0] == (18, 1, 9)  # nine steps of two worlds; those of the finished episode can be drawn
    assert len(notes) == 40 + 4  # the updates that were missed meanwhile are made up for


def test_demonstrations_can_be_learned_from_at_once(tmp_path):
    training = noted(tmp_path, warmup_steps=0, total_steps=10, demonstrations=demonstrations(1))
    steps, _, drawn = training.algorithm.notes[0]
    assert steps == 2
    assert drawn == len(demonstrations(1)[0]["action"])


def test_episodes_and_outcomes_are_counted(tmp_path):
    training = Training(Scripted(), Telltale(), tmp_path, total_steps=24, warmup_steps=25)
    rates = []
    training.run(never, on_progress=lambda steps, recent, metrics: rates.append(recent))
    assert training.loop.episodes == 7  # 12 steps of each world: 4 episodes that succeed and 3 that do not
    assert rates[-1] == pytest.approx(4 / 7)
    assert rates[0] == 0.0
    assert len(training.loop.experience.online) == 24


def test_the_newest_figures_are_told_and_kept_in_the_curve(tmp_path):
    told = []
    training = Training(Point(2), Biased(), tmp_path, algorithm=Noted, total_steps=64, eval_every=32, warmup_steps=50)
    curve = training.run(never, on_progress=lambda steps, recent, metrics: told.append(dict(metrics)))
    assert told[0] == {}
    assert told[-1] == {"loss": float(len(training.algorithm.notes))}
    assert [point.get("loss") for point in curve] == [None, None, told[-1]["loss"]]
    assert curve[1]["seconds"] < curve[2]["seconds"]


def test_what_keeps_an_untrained_critic_from_being_exploited_is_on_by_default():
    algo = build("finetune", compose("finetune", ["checkpoint=c", "dataset=d"])).algo
    assert algo.critic_warmup_updates >= 1000
    assert algo.warmup_steps >= 1000
    assert algo.normalise_q
    assert algo.layer_norm
    assert algo.residual_penalty_start > algo.residual_penalty_end > 0
    assert algo.demo_ratio == 0.5


# ---------------------------------------------------------------- batches


def test_batches_mix_demonstrations_and_own_experience(tmp_path):
    shown = demonstrations(3)
    training = Training(Point(2), Biased(), tmp_path, demonstrations=shown, demo_ratio=0.25)
    training.run(never)
    known = {row.tobytes() for episode in shown for row in episode["observation.state"]}
    batch = training.loop.experience.batch(16, steps=1)
    assert sorted(row.tobytes() in known for row in batch.frames[VECTOR].numpy()) == [False] * 12 + [True] * 4
    assert batch.discount.unique().tolist() == pytest.approx([0.0, 0.9])


# ---------------------------------------------------------------- evaluations


def test_it_stops_when_two_evaluations_in_a_row_are_good_enough(tmp_path):
    rates = iter([0.0, 0.95, 0.5, 0.9, 0.92, 1.0])
    settings = {"stop_at": 0.9, "eval_every": 10, "total_steps": 200, "warmup_steps": 10**6}
    training = Training(Point(2), Biased(), tmp_path, **settings)
    curve = training.run(lambda acting: next(rates))
    assert [point["success"] for point in curve] == [0.0, 0.95, 0.5, 0.9, 0.92]
    assert [point["steps"] for point in curve] == [0, 10, 20, 30, 40]
    assert training.loop.clock.steps == 40


def test_a_budget_that_is_no_multiple_ends_with_an_evaluation(tmp_path):
    training = Training(Point(3), Biased(), tmp_path, eval_every=10, total_steps=25, warmup_steps=10**6)
    assert [point["steps"] for point in training.run(never)] == [0, 12, 21, 27]


def test_an_evaluation_acts_without_noise(tmp_path):
    training, given = Training(Point(2), Biased(), tmp_path, total_steps=8, exploration_noise=0.8), []
    training.run(lambda acting: given.append(acting) or 0.0)
    observation, base = {"observation.state": np.ones((1, 2), np.float32)}, np.zeros((1, 1), np.float32)
    for acting in given:
        assert acting.policy is training.algorithm.policy
        np.testing.assert_array_equal(acting.correction(observation, base), acting.correction(observation, base))


def test_the_newest_of_the_best_actors_is_kept(tmp_path):
    rates, actors = [0.2, 0.9, 0.9, 0.4, 0.3], []
    training = Training(Point(2), Biased(), tmp_path, total_steps=64, eval_every=16, warmup_steps=10)

    def evaluate(acting):
        actors.append(acting.correction.actor.net.weights[-1].detach().clone())
        return rates[len(actors) - 1]

    training.run(evaluate)
    assert len(actors) == len(rates)
    kept = judged(training.algorithm).net.weights[-1]
    assert [torch.equal(kept, actor) for actor in actors] == [False, False, True, False, False]
    resumed = Training(Point(2), Biased(), tmp_path, total_steps=64)
    assert torch.equal(judged(resumed.algorithm).net.weights[-1], actors[-1])  # what learns goes on
    resumed.run(never)
    assert torch.equal(judged(resumed.algorithm).net.weights[-1], kept)
