"""Worlds and policies small enough to know every value, for the tests of online RL."""

import numpy as np

from robolearn.compose import build, compose
from robolearn.normalize import Normalizer
from robolearn.rl.experience import relabelled
from robolearn.rl.online import Local, OnlineTrainer
from robolearn.rl.residual import Residual
from robolearn.rl.units import Units
from robolearn.schema import ActionChunk, Feature, Schema

TINY = {
    "num_envs": 2,
    "total_steps": 64,
    "warmup_steps": 16,
    "critic_warmup_updates": 4,
    "eval_every": 32,
    "eval_episodes": 4,
    "utd": 1.0,
    "actor_every": 1,
    "batch_size": 16,
    "n_step": 1,
    "gamma": 0.9,
    "num_critics": 2,
    "hidden": 16,
    "stop_at": "null",
    "demo_ratio": 0.5,
    "exploration_noise": 0.1,
}


def make_config(*, scale=0.5, **changes):
    """The algorithm's configuration at toy size."""
    options = [f"algo.{key}={value}" for key, value in (TINY | {"average_tau": 0.05} | changes).items()]
    config = build("finetune", compose("finetune", ["checkpoint=c", "dataset=d", *options])).algo
    config.residual_scale = {"default": scale}  # the arm's components are not ours
    return config


def make_schema(names, *, bound):
    n = len(names)
    observation = Feature("float32", (n,), tuple(names), ("1",) * n, "observation")
    action = Feature("float32", (1,), ("push",), ("m",), "action", (-bound,), (bound,))
    return Schema({"observation.state": observation, "action": action}, fps=20)


def make_normalizer(schema, *, std=1.0):
    n = schema["observation.state"].shape[0]
    return Normalizer(schema, {"observation.state": {"mean": np.zeros(n), "std": np.full(n, std)}})


def make_units(schema, *, std=1.0):
    return Units(make_normalizer(schema, std=std), schema)


class Training:
    """An algorithm, its loop and its worlds, all in this process."""

    def __init__(self, env, policy, out, *, demonstrations=(), seed=0, algorithm=Residual, units=None, **changes):
        self.config = make_config(num_envs=env.num_envs, **changes)
        self.units = make_units(policy.schema) if units is None else units
        self.algorithm = algorithm(self.config, policy=policy, units=self.units, seed=seed)
        self.loop = OnlineTrainer(self.algorithm, self.config, seed=seed, out=out)
        self.shown = relabelled(demonstrations, policy, self.units, seed=seed)
        self.source = Local(env, self.algorithm, self.units, seed=self.loop.seed)

    def run(self, evaluate, on_progress=None):
        return self.loop.run(self.source, self.shown, evaluate=evaluate, on_progress=on_progress)


# ---------------------------------------------------------------- every value known


class Scripted:
    """World i always takes `lengths[i]` steps and then ends as `ends[i]` says; it shows (world, episode, step)."""

    schema = make_schema(("world", "episode", "step"), bound=2.0)
    stage_names, max_episode_steps = ("count",), 100

    def __init__(self, lengths=(3, 4), ends=("terminated", "truncated")):
        self.num_envs, self.lengths, self.ends = len(lengths), np.array(lengths), np.array(ends)
        self.instructions = ["count"] * self.num_envs
        self.episode, self.t = np.full(self.num_envs, -1), np.zeros(self.num_envs, int)
        self.actions = []

    def reset(self, *, seed=None, options=None):
        mask = np.ones(self.num_envs, bool) if options is None else options["reset_mask"]
        self.episode[mask] += 1
        self.t[mask] = 0
        return self._observation(), self._info()

    def step(self, actions):
        self.actions.append(actions.copy())
        assert (self.t < self.lengths).all(), "a world that is over was stepped on"
        self.t += 1
        over = self.t == self.lengths
        terminated, truncated = over & (self.ends == "terminated"), over & (self.ends == "truncated")
        return self._observation(), terminated.astype(float), terminated, truncated, self._info()

    def close(self):
        pass

    def _observation(self):
        return {"observation.state": np.stack((np.arange(self.num_envs), self.episode, self.t), 1).astype(np.float32)}

    def _info(self):
        success = (self.t == self.lengths) & (self.ends == "terminated")
        return {"success": success, "stage": success.astype(int), "progress": success.astype(float)}


class Telltale:
    """A policy whose actions tell what it had seen when it planned, and how long ago."""

    schema = Scripted.schema
    n_obs_steps, horizon, n_action_steps, noise_shape = 1, 4, 2, None
    reads_task = False

    def predict_chunk(self, observation, noise=None, n_samples=1):
        episode, step = observation["observation.state"][:, -1, 1:].T
        values = tell(episode[:, None], step[:, None], np.arange(self.horizon))
        return ActionChunk(values[..., None].astype(np.float32), 0.0, 0.05)


def tell(episode, planned_at, index):
    """The telltale action, in physical units."""
    return 0.1 * episode + 0.02 * planned_at + 0.005 * index


def told(episode, step):
    """The telltale action of a step of an episode, planned every second step."""
    return tell(episode, step // 2 * 2, step % 2)


# ---------------------------------------------------------------- something to learn


class Point:
    """A point on a line goes to a goal and stays: success after three steps in a row within 0.1 of it."""

    schema = make_schema(("position", "goal"), bound=0.2)
    stage_names, max_episode_steps = ("go",), 20

    def __init__(self, num_envs=8):
        self.num_envs, self.instructions = num_envs, ["go to the goal"] * num_envs
        self.x, self.goal = np.zeros(num_envs), np.zeros(num_envs)
        self.held, self.t = np.zeros(num_envs, int), np.zeros(num_envs, int)

    def reset(self, *, seed=None, options=None):
        seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, int) else seed
        mask = np.ones(self.num_envs, bool) if options is None else options["reset_mask"]
        for i in np.flatnonzero(mask):
            self.x[i], self.goal[i] = np.random.default_rng(seeds[i]).uniform(-1, 1, 2)
        self.held[mask], self.t[mask] = 0, 0
        return self._observation(), self._info()

    def step(self, actions):
        self.x += np.clip(actions[:, 0], -0.2, 0.2)
        self.t += 1
        self.held = np.where(np.abs(self.x - self.goal) < 0.1, self.held + 1, 0)
        terminated = self.held >= 3
        truncated = ~terminated & (self.t >= self.max_episode_steps)
        return self._observation(), terminated.astype(float), terminated, truncated, self._info()

    def close(self):
        pass

    def _observation(self):
        return {"observation.state": np.stack((self.x, self.goal), 1).astype(np.float32)}

    def _info(self):
        success = self.held >= 3
        return {"success": success, "stage": success.astype(int), "progress": success.astype(float)}


class Biased:
    """Goes beside the goal, by what its noise says on top of a bias."""

    schema = Point.schema
    n_obs_steps, horizon, n_action_steps = 1, 2, 1
    reads_task = False

    def __init__(self, bias=0.15, spread=0.05):
        self.bias, self.spread, self.noise_shape = bias, spread, (self.horizon, 1)

    def predict_chunk(self, observation, noise=None, n_samples=1):
        position, goal = observation["observation.state"][:, -1].T
        aim = goal + self.bias + self.spread * noise[:, 0, 0]
        first = np.clip(0.5 * (aim - position), -0.2, 0.2)
        return ActionChunk(np.stack((first, 0.5 * first), 1)[..., None].astype(np.float32), 0.0, 0.05)


def demonstrations(count):
    """Successful episodes of going straight to the goal."""
    episodes = []
    for seed in range(count):
        env = Point(1)
        observation, _ = env.reset(seed=10_000 + seed)
        frames = {"observation.state": [], "action": []}
        while True:
            state = observation["observation.state"]
            action = np.clip(0.5 * (state[:, 1:] - state[:, :1]), -0.2, 0.2)
            frames["observation.state"].append(state[0])
            frames["action"].append(action[0])
            observation, _, terminated, *_ = env.step(action)
            if terminated[0]:
                break
        episodes.append({key: np.array(values, np.float32) for key, values in frames.items()})
    return episodes


def never(acting):
    """An evaluation in which nobody ever succeeds."""
    return 0.0
