"""Training a teacher: rollouts in privileged worlds, PPO, success without privilege, checkpoints."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from robolearn.config import PPOConfig
from robolearn.data.files import replacing
from robolearn.errors import UserError
from robolearn.protocols import VecEnv
from robolearn.rl.features import TeacherFeatures
from robolearn.rl.ppo import PPOLearner, Rollout
from robolearn.rl.proximal import advantages
from robolearn.rl.rpd import Adviser, imitation_weight
from robolearn.rl.teacher import Observation, Teacher, Units, save_teacher, where


class Progressive(Protocol):
    """A curriculum, as the trainer sees it."""

    level: float

    @property
    def success_rate(self) -> float:
        """Success at the level."""

    def state(self) -> dict[str, Any]:
        """Plain data."""

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from it."""


class Held(NamedTuple):
    """What came of an action: next observation, the one before any reset, reward, end of the episode, a true end."""

    following: Observation
    after: Observation
    reward: Tensor
    over: Tensor
    terminated: Tensor


class TeacherTrainer:
    """PPO in `env`; `run` is resumable from its checkpoint in `out`.

    A level of privilege in the observation (`privileged.level`) is read by the critic alone: the actor must do what
    serves at every level.
    """

    def __init__(
        self,
        config: PPOConfig,
        *,
        env: VecEnv,
        curriculum: Progressive | None = None,
        adviser: Adviser | None = None,
        seed: int,
        out: Path,
    ) -> None:
        """Prepare networks, or take them from a checkpoint in `out`; `adviser` is whom `config.imitate` names."""
        self.config, self.env, self.curriculum, self.adviser, self.out = config, env, curriculum, adviser, out
        self.features = TeacherFeatures(env.schema)
        privileged = env.schema.with_role("privileged")
        self._extra = tuple(key for key in privileged if not key.startswith("action"))
        actions = [env.schema.action, *(f for key, f in privileged.items() if key.startswith("action"))]
        low, high = (np.concatenate([getattr(f, end) for f in actions]) for end in ("low", "high"))
        self.units = Units(low, high)
        extra_dim = sum(env.schema[key].shape[0] for key in self._extra)
        self.learner = PPOLearner(self.features.dim, extra_dim, len(low), config, seed=seed)
        self.steps, self.curve = 0, list[dict[str, float]]()
        self._load()
        # a resumed run goes on with fresh episodes and noise, never with those it has seen
        self._start = int(np.random.default_rng((seed, self.steps)).integers(2**32, 2**48))

    def teacher(self) -> Teacher:
        """The present policy, without exploration and privilege."""
        return Teacher(self.learner.net, self.env.schema, repeat=self.config.action_repeat)

    def run(
        self,
        *,
        evaluate: Callable[[Teacher], float],
        on_progress: Callable[[int, str], None] | None = None,
    ) -> list[dict[str, float]]:
        """Learn until `total_steps`, or until two evaluations in a row reach `stop_at`; return the curve.

        Args:
            evaluate: success rate of a teacher without privilege, on seeds of its own.
            on_progress: called after each update with the control steps so far and a text.
        """
        observation = self._begin()
        while self.steps < self.config.total_steps and not self._good_enough():
            before = self.steps
            imitation = imitation_weight(self.config, before)
            rollout, observation, reward = self._collect(observation, self.adviser if imitation else None)
            share = self.steps / self.config.total_steps
            figures = self.learner.update(rollout, share=share, imitation=imitation)
            self.learner.net.scale.update(rollout.obs.flatten(0, 1))
            if on_progress is not None:
                on_progress(self.steps, self._text(reward))
            if self.steps // self.config.eval_every > before // self.config.eval_every or self._over():
                self._record(evaluate(self.teacher()), {**figures, "reward": reward})
        if not self.curve:  # the budget was spent on spreading the episodes
            self._record(evaluate(self.teacher()), {})
        return self.curve

    def _begin(self) -> Observation:
        """Start episodes, spread over an episode's length so that a rollout sees every part of one."""
        observation: Observation = self.env.reset(seed=self._start)[0]
        turns = np.arange(self.env.num_envs) % self.env.max_episode_steps
        for t in range(min(self.env.num_envs, self.env.max_episode_steps)):
            obs = self._inputs(observation)[0]
            if not self.curve:
                self.learner.net.scale.update(obs)  # so that the first rollout has a scale
            self.env.step(self.units.physical(self.learner.act(obs)[0].numpy()))
            self.steps += self.env.num_envs
            observation = self.env.reset(options={"reset_mask": turns == t})[0]
        return observation

    def _over(self) -> bool:
        return self.steps >= self.config.total_steps

    def _collect(self, start: Observation, adviser: Adviser | None) -> tuple[Rollout, Observation, float]:
        """One rollout; also the observation it ends with and the mean reward of a step."""
        none = torch.zeros(self.env.num_envs, 0)
        columns = (*Rollout._fields[:5], "advice", "reward", "next", "over", "terminated")
        kept: dict[str, list[Tensor]] = {key: [] for key in columns}
        observation = start
        for _ in range(self.config.rollout_steps):
            obs, extra = self._inputs(observation)
            row = (obs, extra, *self.learner.act(obs), none if adviser is None else adviser(observation))
            held = self._hold(self.units.physical(row[2].numpy()))
            if adviser is not None:
                adviser.forget(held.over.numpy())
            came = (held.reward, self._value(held.after), held.over, held.terminated)
            for key, value in zip(columns, (*row, *came), strict=True):
                kept[key].append(value)
            observation = held.following
        stacked = {key: torch.stack(values) for key, values in kept.items()}
        with torch.no_grad():
            value = self.learner.net.value(stacked["obs"], stacked["extra"])
        advantage = advantages(
            stacked["reward"],
            value,
            stacked["next"],
            stacked["over"],
            stacked["terminated"],
            gamma=self.config.gamma,
            lam=self.config.gae_lambda,
        )
        first = {key: stacked[key] for key in (*Rollout._fields[:5], "advice")}
        rollout = Rollout(**first, advantage=advantage, value_target=advantage + value)
        return rollout, observation, float(stacked["reward"].mean())

    def _hold(self, action: NDArray[np.float32]) -> Held:
        """Take an action for `action_repeat` control steps; what follows the end of an episode is not counted."""
        n = self.env.num_envs
        total, over, terminated = np.zeros(n), np.zeros(n, bool), np.zeros(n, bool)
        after: dict[str, NDArray[Any]] = {}
        for _ in range(self.config.action_repeat):
            following, reward, done, cut, info = self.env.step(action)
            total += np.where(over, 0.0, reward)
            seen = {**following, **info.get("final_obs", {})}
            after = {key: where(over, after.get(key, values), values) for key, values in seen.items()}
            terminated |= done & ~over
            over |= done | cut
        self.steps += n * self.config.action_repeat
        return Held(following, after, _tensor(total), _tensor(over), _tensor(terminated))

    def _inputs(self, observation: Observation) -> tuple[Tensor, Tensor]:
        obs = torch.from_numpy(self.features(observation))
        extra = [torch.from_numpy(observation[key]) for key in self._extra]
        return obs, torch.cat(extra, dim=1) if extra else torch.zeros(len(obs), 0)

    @torch.no_grad()
    def _value(self, observation: Observation) -> Tensor:
        return self.learner.net.value(*self._inputs(observation))

    def _text(self, reward: float) -> str:
        level = "" if self.curriculum is None else f", level {self.curriculum.level:.2f}"
        success = f"success {self.curve[-1]['success']:.2f}, " if self.curve else ""
        return f"{success}reward {reward:.4f}{level}"

    def _record(self, success: float, figures: dict[str, float]) -> None:
        level = 0.0 if self.curriculum is None else self.curriculum.level
        self.curve.append({"steps": float(self.steps), "success": success, "level": level, **figures})
        self._save(best=success >= max(point["success"] for point in self.curve))

    def _good_enough(self) -> bool:
        last = [point["success"] for point in self.curve[-2:]]
        return self.config.stop_at is not None and len(last) == 2 and min(last) >= self.config.stop_at

    def _save(self, *, best: bool) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        tensors = {f"net.{key}": value.contiguous() for key, value in self.learner.net.state_dict().items()}
        for index, entry in self.learner.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{key}": value.contiguous() for key, value in entry.items()}
        tensors["generator"] = self.learner.generator.get_state()
        with replacing(self.out / "checkpoint.safetensors") as path:
            meta = {"steps": self.steps, "curve": self.curve, "learning_rate": self.learner.learning_rate}
            if self.curriculum is not None:
                meta["curriculum"] = self.curriculum.state()
            save_file(tensors, path, {"counters": json.dumps(meta)})
        if best:
            save_teacher(self.out / "teacher", self.teacher(), self.env.schema)

    def _load(self) -> None:
        path = self.out / "checkpoint.safetensors"
        if not path.exists():
            return
        with safe_open(path, "pt") as file:
            counters = json.loads(file.metadata()["counters"])
        tensors = load_file(path)
        try:
            self.learner.net.load_state_dict(_below("net.", tensors))
        except RuntimeError as error:
            raise UserError(f"the checkpoint in {self.out} is of another network: give another `out`") from error
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in _below("optimizer.", tensors).items():
            index, field = key.split(".")
            moments.setdefault(int(index), {})[field] = value
        optimizer = self.learner.optimizer
        optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
        self.learner.generator.set_state(tensors["generator"])
        self.learner.learning_rate = counters["learning_rate"]
        self.steps, self.curve = counters["steps"], counters["curve"]
        if self.curriculum is not None:
            self.curriculum.restore(counters["curriculum"])


def _tensor(values: NDArray[Any]) -> Tensor:
    return torch.from_numpy(values if values.dtype == bool else values.astype(np.float32))


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
