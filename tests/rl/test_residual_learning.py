"""The residual learns on worlds that take seconds, from vectors and from pictures."""

import numpy as np
import picture_toy
import pytest
import rl_toy
import torch
from picture_toy import Blind, Signpost
from rl_toy import Biased, Point, Training, never

from robolearn.acting import ChunkActor
from robolearn.eval.rollout import run_episodes

LEARNING = {
    "warmup_steps": 800,
    "critic_warmup_updates": 200,
    "eval_every": 10**6,
    "utd": 0.5,
    "batch_size": 128,
    "n_step": 3,
    "hidden": 64,
    "residual_penalty_start": 1.0,
    "residual_penalty_end": 0.1,
    "residual_penalty_steps": 1000,
}


def success_rate(worlds, acting, *, count=200, num_envs=20):
    actor = ChunkActor(acting.policy, num_envs, acting.correction)
    episodes = run_episodes(worlds(num_envs), actor, range(50_000, 50_000 + count))
    return float(np.mean([episode.success for episode in episodes]))


def test_it_learns_to_undo_the_base_s_bias(tmp_path):
    shown = rl_toy.demonstrations(20)
    training = Training(Point(16), Biased(), tmp_path, demonstrations=shown, total_steps=2000, **LEARNING)
    before = success_rate(Point, training.algorithm.acting(None))
    training.run(never)
    assert before < 0.4
    assert success_rate(Point, training.algorithm.acting(None)) > 0.9


@pytest.mark.slow
def test_it_learns_to_go_where_a_picture_says(tmp_path):
    torch.set_num_threads(1)
    shown = picture_toy.demonstrations(20)
    changes = LEARNING | {"residual_penalty_start": 0.1, "residual_penalty_end": 0.01, "batch_size": 64}
    training = Training(
        Signpost(16),
        Blind(),
        tmp_path,
        demonstrations=shown,
        units=picture_toy.make_units(),
        total_steps=3200,
        scale=2.0,
        **changes,
    )
    before = success_rate(Signpost, training.algorithm.acting(None))
    training.run(never)
    assert 0.3 < before < 0.7
    assert success_rate(Signpost, training.algorithm.acting(None)) > 0.9
