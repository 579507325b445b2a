"""Worlds whose goal can only be seen: one of two places on a line, shown in a picture of 16 pixels."""

import numpy as np

from robolearn.normalize import Normalizer
from robolearn.rl.units import Units
from robolearn.schema import ActionChunk, Feature, Schema

CAMERA, SIDE = "observation.images.eye", 16
GOALS = (-0.5, 0.5)


def make_schema():
    position = Feature("float32", (1,), ("position",), ("m",), "observation")
    picture = Feature("image", (SIDE, SIDE, 3), ("height", "width", "channels"), ("1",) * 3, "observation")
    push = Feature("float32", (1,), ("push",), ("m",), "action", (-0.2,), (0.2,))
    return Schema({"observation.state": position, CAMERA: picture, "action": push}, fps=20)


class Signpost:
    """A point on a line goes to the side that a bright patch is on, and stays there for three steps."""

    schema = make_schema()
    stage_names, max_episode_steps = ("go",), 8  # too few to try both sides

    def __init__(self, num_envs=8):
        self.num_envs, self.instructions = num_envs, ["go to the goal"] * num_envs
        self.x, self.side = np.zeros(num_envs), np.zeros(num_envs, int)
        self.held, self.t = np.zeros(num_envs, int), np.zeros(num_envs, int)

    def reset(self, *, seed=None, options=None):
        mask = np.ones(self.num_envs, bool) if options is None else options["reset_mask"]
        for i in np.flatnonzero(mask):
            rng = np.random.default_rng(seed[i])
            self.x[i], self.side[i] = rng.uniform(-0.1, 0.1), rng.integers(2)
        self.held[mask], self.t[mask] = 0, 0
        return self._observation(), self._info()

    def step(self, actions):
        self.x += np.clip(actions[:, 0], -0.2, 0.2)
        self.t += 1
        there = np.abs(self.x - np.take(GOALS, self.side)) < 0.15
        self.held = np.where(there, self.held + 1, 0)
        terminated = self.held >= 3
        truncated = ~terminated & (self.t >= self.max_episode_steps)
        return self._observation(), terminated.astype(float), terminated, truncated, self._info()

    def close(self):
        pass

    def _observation(self):
        pictures = np.full((self.num_envs, SIDE, SIDE, 3), 40, np.uint8)
        for picture, side in zip(pictures, self.side, strict=True):
            column = 3 if side == 0 else 11
            picture[6:10, column : column + 3] = (220, 200, 30)
        return {"observation.state": self.x[:, None].astype(np.float32), CAMERA: pictures}

    def _info(self):
        success = self.held >= 3
        return {"success": success, "stage": success.astype(int), "progress": success.astype(float)}


class Blind:
    """Goes to the one side or the other, as its noise says."""

    schema = Signpost.schema
    n_obs_steps, horizon, n_action_steps, noise_shape = 1, 8, 8, (1,)
    reads_task = False

    def predict_chunk(self, observation, noise=None, n_samples=1):
        assert observation[CAMERA].dtype == np.uint8
        x, aim = observation["observation.state"][:, -1, 0].copy(), np.where(noise[:, 0] > 0, *GOALS[::-1])
        actions = []
        for _ in range(self.horizon):
            actions.append(np.clip(0.5 * (aim - x), -0.2, 0.2))
            x += actions[-1]
        return ActionChunk(np.stack(actions, 1)[..., None].astype(np.float32), 0.0, 0.05)


def make_units():
    statistics = {"observation.state": {"mean": np.zeros(1), "std": np.full(1, 0.3)}}
    return Units(Normalizer(Signpost.schema, statistics), Signpost.schema)


def demonstrations(count):
    """Successful episodes of one who sees."""
    episodes = []
    for seed in range(count):
        env, frames, over = Signpost(1), {"observation.state": [], CAMERA: [], "action": []}, False
        seen, _ = env.reset(seed=[10_000 + seed])
        while not over:
            action = np.clip(0.5 * (np.take(GOALS, env.side) - env.x), -0.2, 0.2)[:, None]
            for key, values in (*seen.items(), ("action", action.astype(np.float32))):
                frames[key].append(values[0])
            seen, _, (over,), *_ = env.step(action)
        episodes.append({key: np.array(values) for key, values in frames.items()})
    return episodes
