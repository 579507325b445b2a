"""Stable-Baselines3's SAC with hindsight goals (HER), shown the same demonstrations: what Fetch's users would take.

It learns in Gymnasium-Robotics' own environment with its reward of -1 until the goal is reached, and without an end on
success, for both is what hindsight goals are made for. It is judged like everybody else.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robolearn.bench._rl_judge import successes, time_actions, worlds
from robolearn.bench._rl_problems import STOP_AT
from robolearn.commands.common import REPORT_SEED, SELECT_SEED

if TYPE_CHECKING:
    import gymnasium
    from stable_baselines3 import SAC

STATE, GOALS = "observation.state", "observation.environment_state"


class GoalActor:
    """The mean action of a learned policy; see `robolearn.eval.rollout.Actor`."""

    def __init__(self, model: SAC) -> None:
        """Act with `model`."""
        self._model = model

    def reset(self, seeds: Sequence[int], mask: NDArray[np.bool_] | None = None) -> None:
        """Nothing is remembered."""

    def act(self, observation: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Actions [n, action_dim]."""
        reached, wanted = np.split(observation[GOALS], 2, axis=1)
        told = {"observation": observation[STATE], "achieved_goal": reached, "desired_goal": wanted}
        return np.asarray(self._model.predict(told, deterministic=True)[0], np.float32)


def learn(
    task: str, options: Mapping[str, Any], *, dataset: Path, budget: int, every: int, seed: int
) -> dict[str, Any]:
    """Learn for `budget` control steps, or until two evaluations in a row reach `STOP_AT`.

    Nothing is kept of a run that is stopped: Stable-Baselines3's checkpoints are pickled.

    Args:
        task: whose worlds are those of a Gymnasium-Robotics goal environment.
        options: see `robolearn.bench._rl_problems.SAC_HER`.
        dataset: demonstrations.
        budget: control steps of interaction.
        every: control steps between evaluations.
        seed: of weights, exploration and goals.

    Returns:
        "curve", "outcomes" and "act_ms", as every run has them.
    """
    start = time.process_time()
    env = _native(task)
    model = _model(env, options, seed=seed)
    _show(model, _native(task), dataset)
    curve: list[dict[str, float]] = []
    with worlds(task) as judged, worlds(task, num_envs=1) as alone:
        actor = GoalActor(model)
        while True:
            rate = float(np.mean(successes(judged, actor, first_seed=SELECT_SEED)))
            curve.append({"steps": model.num_timesteps, "success": rate, "cpu_seconds": time.process_time() - start})
            print(curve[-1], flush=True)
            learned = len(curve) > 1 and min(point["success"] for point in curve[-2:]) >= STOP_AT
            if learned or model.num_timesteps >= budget:
                break
            model.learn(min(every, budget - model.num_timesteps), reset_num_timesteps=False)
        outcomes = successes(judged, actor, first_seed=REPORT_SEED)
        return {"curve": curve, "outcomes": outcomes, "act_ms": time_actions(alone, actor)}


def _native(task: str) -> gymnasium.Env[Any, Any]:
    from robolearn.compose import build, compose
    from robolearn.sim.backends.gymnasium_ids import make_single

    config = build("eval", compose("eval", [f"task={task}", "checkpoint=none"])).task
    return make_single(config.name, max_episode_steps=config.max_episode_steps)


def _model(env: gymnasium.Env[Any, Any], options: Mapping[str, Any], *, seed: int) -> SAC:
    from stable_baselines3 import SAC, HerReplayBuffer
    from stable_baselines3.common.logger import Logger

    own = ("hidden", "n_sampled_goal", "steps_per_update")
    model = SAC(
        "MultiInputPolicy",
        env,
        replay_buffer_class=HerReplayBuffer,
        replay_buffer_kwargs={"n_sampled_goal": options["n_sampled_goal"], "goal_selection_strategy": "future"},
        train_freq=options["steps_per_update"],
        policy_kwargs={"net_arch": list(options["hidden"])},
        seed=seed,
        device="cpu",
        **{name: value for name, value in options.items() if name not in own},
    )
    model.set_logger(Logger(None, []))  # its own one leaves a folder in the temporary ones
    return model


def _show(model: SAC, env: gymnasium.Env[Any, Any], dataset: Path) -> None:
    """Put demonstrations into the replay: done once more, for a dataset lacks what was seen after the last action.

    Raises:
        RuntimeError: they do not come out the same.
    """
    from stable_baselines3 import HerReplayBuffer

    from robolearn.data.dataset import EpisodeDataset

    data, replay = EpisodeDataset.load(dataset), model.replay_buffer
    assert isinstance(replay, HerReplayBuffer)
    for begin, end, seed in zip(data.starts, data.ends, data.columns["seed"], strict=True):
        seen = env.reset(seed=int(seed))[0]
        for t in range(begin, end):
            if not np.allclose(seen["observation"], data.channels[STATE][t], atol=1e-3):
                raise RuntimeError(f"demonstration of seed {seed}: another state after {t - begin} steps")
            action = data.channels["action"][t].astype(env.action_space.dtype)
            after, reward, *_ = env.step(action)
            last = t == end - 1
            # over, but not because anything ended: what follows has its value
            replay.add(
                {key: value[None] for key, value in seen.items()},
                {key: value[None] for key, value in after.items()},
                action[None],
                np.array([reward]),
                np.array([last]),
                [{"TimeLimit.truncated": last}],
            )
            seen = after
