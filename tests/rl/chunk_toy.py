"""A base whose noise chooses between a good and a bad way, for the algorithms that decide per chunk."""

import numpy as np
import torch
from rl_toy import TINY, Point, demonstrations, make_units

from robolearn.acting import Acting, ChunkActor
from robolearn.compose import build, compose
from robolearn.eval.rollout import run_episodes
from robolearn.rl.experience import Batch, relabelled
from robolearn.rl.online import Local, OnlineTrainer, completion
from robolearn.schema import ActionChunk

OFFLINE = ("value_guided",)
# of rl_toy.TINY, what these algorithms have too
COMMON = {key: value for key, value in TINY.items() if key not in ("n_step", "actor_every", "exploration_noise")}


def chunk_config(name, **changes):
    """An algorithm's configuration at toy size."""
    sizes = {"hidden": 16, "batch_size": 16, "gamma": 0.9} if name in OFFLINE else COMMON
    options = [f"algo.{key}={value}" for key, value in (sizes | changes).items()]
    return build("finetune", compose("finetune", ["checkpoint=c", "dataset=d", f"algo={name}", *options])).algo


class Forked:
    """Goes to the goal, or far beside it, as the first number of its noise is below or above zero."""

    schema = Point.schema
    n_obs_steps, horizon, n_action_steps = 1, 4, 3
    reads_task, noise_shape = False, (4, 1)

    def predict_chunk(self, observation, noise=None, n_samples=1):
        position, goal = np.repeat(observation["observation.state"][:, -1], n_samples, axis=0).T
        aim = goal + 0.3 * (1 + np.tanh(4 * noise[:, 0, 0]))
        plan = []
        for _ in range(self.horizon):
            plan.append(np.clip(0.5 * (aim - position), -0.2, 0.2))
            position = position + plan[-1]
        values = np.stack(plan, axis=1)[..., None].astype(np.float32)
        return ActionChunk(values.reshape(-1, n_samples, 4, 1) if n_samples > 1 else values, 0.0, 0.05)


class Silent(Forked):
    """A base without noise."""

    noise_shape = None


def success_of(acting, *, episodes=100, worlds=20):
    """Success rate on the point's worlds, on seeds that no training uses."""
    actor = ChunkActor(acting.policy, worlds, acting.correction)
    results = run_episodes(Point(worlds), actor, range(50_000, 50_000 + episodes))
    return float(np.mean([episode.success for episode in results]))


def learn(name, algorithm, out, **changes):
    """Train on the forked base; return the algorithm and the curve."""
    base, env = Forked(), Point(16)
    config = chunk_config(name, num_envs=16, **changes)
    units = make_units(base.schema)
    learner = algorithm(config, policy=base, units=units, seed=0)
    loop = OnlineTrainer(learner, config, seed=0, out=out)
    shown = relabelled(demonstrations(10), base, units, seed=0, reads=completion(learner) is not None)
    return learner, loop.run(Local(env, learner, units, seed=loop.seed), shown, evaluate=success_of)


def base_success():
    """Success rate of the base alone."""
    return success_of(Acting(Forked()))


def batch_of(reward, discount, *, steps=3, seed=0, **frames):
    """Windows of random frames and actions with these returns, all steps inside; `frames` are added to both ends."""
    generator = torch.Generator().manual_seed(seed)
    n = len(reward)
    given = {key: torch.as_tensor(values) for key, values in frames.items()}
    before, after = ({"obs": torch.randn(n, 2, generator=generator), **given} for _ in range(2))
    action = torch.rand(n, steps, 1, generator=generator) * 2 - 1
    inside = torch.ones(n, steps, dtype=torch.bool)
    return Batch(before, action, inside, torch.tensor(reward), torch.tensor(discount), after)


def constant(net, *values):
    """Let each head of a network give one value everywhere."""
    net.zero_last()
    with torch.no_grad():
        net.biases[-1][:, 0, 0] = torch.tensor(values)
