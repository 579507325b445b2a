"""Algorithms that decide at every control step: on batches of known numbers, and on the point that goes to its goal."""

import numpy as np
import rl_toy
import torch
from rl_toy import Biased, Point, make_normalizer, make_units, never

from robolearn.acting import ChunkActor
from robolearn.compose import build, compose
from robolearn.eval.rollout import run_episodes
from robolearn.rl.experience import Batch, relabelled
from robolearn.rl.interaction import BASE
from robolearn.rl.online import Local, OnlineTrainer
from robolearn.rl.refinement import load_refinement
from robolearn.rl.units import VECTOR, Units
from robolearn.schema import Feature, Schema

OBS, ACT = 3, 2
SCHEMA = Schema(
    {
        "observation.state": Feature("float32", (OBS,), ("a", "b", "c"), ("1",) * OBS, "observation"),
        "action": Feature("float32", (ACT,), ("x", "y"), ("m",) * ACT, "action", (-1.0,) * ACT, (1.0,) * ACT),
    },
    fps=20,
)
UNITS = Units(make_normalizer(SCHEMA), SCHEMA)
SMALL = {"num_critics": 2, "hidden": 16, "batch_size": 16, "n_step": 1, "actor_every": 1, "critic_warmup_updates": 0}
LEARNING = {
    "num_envs": 16,
    "warmup_steps": 400,
    "critic_warmup_updates": 100,
    "eval_every": 10**6,
    "stop_at": "null",
    "utd": 0.5,
    "actor_every": 1,
    "batch_size": 128,
    "n_step": 3,
    "gamma": 0.9,
    "num_critics": 2,
    "hidden": 64,
}


class Channels:
    """What algorithms without a base use of a policy."""

    schema = SCHEMA


def make_config(algo, **changes):
    options = [f"algo={algo}", *(f"algo.{key}={value}" for key, value in changes.items())]
    return build("finetune", compose("finetune", ["checkpoint=c", "dataset=d", *options])).algo


def make_learner(algorithm, algo, **changes):
    return algorithm(make_config(algo, **SMALL | changes), policy=Channels(), units=UNITS, seed=0)


def make_batch(n=32, **fields):
    rng = torch.Generator().manual_seed(0)

    def uniform(*shape):
        return torch.rand(shape, generator=rng) * 2 - 1

    batch = Batch(
        frames={VECTOR: uniform(n, OBS), BASE: uniform(n, ACT)},
        action=uniform(n, 1, ACT),
        inside=torch.ones(n, 1, dtype=torch.bool),
        reward=torch.zeros(n),
        discount=torch.full((n,), 0.9),
        after={VECTOR: uniform(n, OBS), BASE: uniform(n, ACT)},
    )
    return batch._replace(**fields)


def constant(network, values) -> None:
    """Make each head a constant."""
    network.zero_last()
    with torch.no_grad():
        network.biases[-1][:, 0, 0] = torch.tensor(values)


def learn(algorithm, algo, out, **changes):
    """Train on the point with its biased base; return the algorithm, the base and its units."""
    policy = Biased()
    config, units = make_config(algo, **LEARNING | changes), make_units(policy.schema)
    learner = algorithm(config, policy=policy, units=units, seed=0)
    loop = OnlineTrainer(learner, config, seed=0, out=out)
    shown = relabelled(rl_toy.demonstrations(20), policy, units, seed=0)
    loop.run(Local(Point(16), learner, units, seed=loop.seed), shown, evaluate=never)
    return learner, policy, units


def success_rate(acting, *, count=200, num_envs=20):
    actor = ChunkActor(acting.policy, num_envs, acting.correction)
    episodes = run_episodes(Point(num_envs), actor, range(50_000, 50_000 + count))
    return float(np.mean([episode.success for episode in episodes]))


def actions(acting, *, num_envs=20, steps=5):
    """What is done in some first steps [steps, num_envs, action_dim]."""
    worlds, actor = Point(num_envs), ChunkActor(acting.policy, num_envs, acting.correction)
    actor.reset(list(range(num_envs)))
    observation, _ = worlds.reset(seed=list(range(num_envs)))
    done = []
    for _ in range(steps):
        done.append(actor.act(observation))
        observation, *_ = worlds.step(done[-1])
    return np.stack(done)


def reread(learner, policy, units, folder):
    """Save a learner and read who acts."""
    learner.save(folder)
    return load_refinement(folder, policy, units)
