"""Online interaction of a residual learner: collect, store, update, evaluate, checkpoint."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.acting import ChunkActor
from robolearn.config import ResidualConfig
from robolearn.data.replay import NStep, Replay
from robolearn.language import TASK
from robolearn.normalize import Normalizer
from robolearn.protocols import Policy, VecEnv
from robolearn.rl.checkpoint import load_checkpoint, save_checkpoint
from robolearn.rl.correction import ResidualCorrection, Units
from robolearn.rl.residual import ResidualLearner, as_tensors

Arrays = dict[str, NDArray[np.float32]]
Frames = Mapping[str, NDArray[Any]]


def demonstrations_to_replay(
    episodes: Sequence[Frames], policy: Policy, units: Units, config: ResidualConfig, *, seed: int
) -> Replay:
    """Transitions of successful demonstrations, relabelled with the base policy's own action at each state.

    Args:
        episodes: observations, `action` and, for a base that reads it, "task" [T, ...] each, in physical units; the
            last step is the success.
        policy: the base.
        units: normalisation.
        config: n-step and discount.
        seed: of the base policy's noise.
    """
    replay = _make_replay(sum(len(e["action"]) for e in episodes), policy)
    nstep = NStep(1, n=config.n_step, gamma=config.gamma)
    for k, episode in enumerate(episodes):
        actor = ChunkActor(policy, 1)
        actor.reset([seed + k])
        obs, action = units.observation(episode), units.action(episode["action"])
        read = (*policy.schema.observation_keys, *((TASK,) if policy.reads_task else ()))
        frames = [{key: episode[key][t : t + 1] for key in read} for t in range(len(obs))]
        base = np.concatenate([units.action(actor.base_action(frame)) for frame in frames])
        for t in range(len(obs)):
            last = t == len(obs) - 1
            after = t if last else t + 1  # no value follows the success, so its state does not matter
            start = {"obs": obs[t], "base": base[t], "action": action[t]}
            end = {"next_obs": obs[after], "next_base": base[after]}
            for transition in nstep.add(0, start, float(last), end, terminated=last, truncated=False):
                replay.add(transition)
    return replay


def _make_replay(capacity: int, policy: Policy) -> Replay:
    obs = (sum(policy.schema[key].shape[0] for key in policy.schema.observation_keys),)
    act = policy.schema.action.shape
    shapes = {"obs": obs, "base": act, "action": act, "next_obs": obs, "next_base": act, "reward": (), "discount": ()}
    return Replay(capacity, shapes)


class OnlineTrainer:
    """Residual RL in a batch of worlds; `run` is resumable from its checkpoint."""

    def __init__(
        self,
        config: ResidualConfig,
        *,
        env: VecEnv,
        policy: Policy,
        normalizer: Normalizer,
        demonstrations: Sequence[Frames],
        seed: int,
        out: Path,
    ) -> None:
        """Prepare networks and replay, or take them from a checkpoint in `out`."""
        self.config, self.env, self.policy, self.out = config, env, policy, out
        self.units = Units(normalizer, policy.schema.observation_keys)
        self.demos = demonstrations_to_replay(demonstrations, policy, self.units, config, seed=seed)
        self.replay = _make_replay(config.total_steps + env.num_envs * config.n_step, policy)
        obs_dim = self.replay.fields["obs"].shape[1]
        self.learner = ResidualLearner(obs_dim, policy.schema.action.names, config, seed=seed)
        self.correction = ResidualCorrection(self.learner.actor, self.units)
        self.steps, self.episodes, self._updates = 0, 0, 0
        self._outcomes: list[bool] = []
        self.curve: list[dict[str, float]] = []
        self._seed = seed
        load_checkpoint(self, out)
        # a resumed run goes on with fresh episodes and noise, never with those it has seen
        self._rng = np.random.default_rng((seed, self.steps))

    def run(
        self,
        *,
        evaluate: Callable[[ResidualCorrection], float],
        on_progress: Callable[[int, float], None] | None = None,
    ) -> list[dict[str, float]]:
        """Learn until `total_steps` or until two evaluations in a row reach `stop_at`; return the curve.

        `learner.best_actor` then holds the newest of the actors that did best when evaluated.

        Args:
            evaluate: success rate of a correction, in worlds and on seeds of its own.
            on_progress: called after each round of the worlds with the control steps so far and the success rate of
                the last 100 exploring episodes.
        """
        if not self.curve:
            self._record(evaluate(self.correction), {})
        self._begin()
        while self.steps < self.config.total_steps and not self._good_enough():
            before = self.steps
            self._interact()
            metrics = self._learn(self.steps - before)
            due = self.steps // self.config.eval_every > before // self.config.eval_every
            if due or self.steps >= self.config.total_steps:
                self._record(evaluate(self.correction), metrics)
            if on_progress is not None:
                on_progress(self.steps, float(np.mean(self._outcomes[-100:])) if self._outcomes else 0.0)
        return self.curve

    def _record(self, success: float, metrics: dict[str, float]) -> None:
        if success >= max((point["success"] for point in self.curve), default=0.0):
            self.learner.best_actor.load_state_dict(self.learner.actor.state_dict())
        self.curve.append({"steps": float(self.steps), "success": success, **metrics})
        save_checkpoint(self, self.out)

    def _good_enough(self) -> bool:
        last = [point["success"] for point in self.curve[-2:]]
        return self.config.stop_at is not None and len(last) == 2 and min(last) >= self.config.stop_at

    def _begin(self) -> None:
        n = self.env.num_envs
        self._actor = ChunkActor(self.policy, n)
        self._nstep = NStep(n, n=self.config.n_step, gamma=self.config.gamma)
        self._frame: Frames = {}
        self._base = np.zeros((n, *self.policy.schema.action.shape), np.float32)
        self._restart(np.ones(n, bool))

    def _restart(self, mask: NDArray[np.bool_]) -> None:
        seeds = self._rng.integers(2**31, size=self.env.num_envs).tolist()
        self._actor.reset(seeds, mask)
        masked = [seed if chosen else None for seed, chosen in zip(seeds, mask, strict=True)]
        self._frame, _ = self.env.reset(seed=masked, options={"reset_mask": mask})
        ids = np.flatnonzero(mask)
        self._base[ids] = self.units.action(self._actor.base_action(self._told(), ids))

    def _told(self) -> Frames:
        """The newest frame and what each world is asked for."""
        return {**self._frame, TASK: np.array(self.env.instructions)}

    def _explore(self, obs: NDArray[np.float32]) -> NDArray[np.float32]:
        action = self.learner.actor.act(obs, self._base)
        noise = self._rng.standard_normal(self._base.shape, np.float32) * self.config.exploration_noise
        return np.clip(action + noise, -1, 1)

    def _interact(self) -> None:
        obs = self.units.observation(self._frame)
        action = self._explore(obs)
        self._frame, reward, terminated, truncated, info = self.env.step(self.units.physical(action))
        next_obs = self.units.observation(self._frame)
        next_base = self.units.action(self._actor.base_action(self._told()))
        for i in range(self.env.num_envs):
            start = {"obs": obs[i], "base": self._base[i], "action": action[i]}
            end = {"next_obs": next_obs[i], "next_base": next_base[i]}
            over = {"terminated": bool(terminated[i]), "truncated": bool(truncated[i])}
            for transition in self._nstep.add(i, start, float(reward[i]), end, **over):
                self.replay.add(transition)
        self.steps += self.env.num_envs
        self._base = next_base
        done = terminated | truncated
        if done.any():
            self._outcomes += info["success"][done].tolist()
            self.episodes += int(done.sum())
            self._restart(done)

    def _learn(self, steps: int) -> dict[str, float]:
        # after a short warm-up no n-step return may be complete yet
        if self.steps < self.config.warmup_steps or not len(self.replay):
            return {}
        # whole updates so far, so that their number keeps up even where a round is worth less than one
        updates = math.floor(self.steps * self.config.utd) - math.floor((self.steps - steps) * self.config.utd)
        if self._updates == 0:
            updates += self.config.critic_warmup_updates
        metrics: dict[str, Any] = {}
        for _ in range(updates):
            self._updates += 1
            alone = self._updates <= self.config.critic_warmup_updates
            with_actor = not alone and self._updates % self.config.actor_every == 0
            metrics |= self.learner.update(self._batch(), actor=with_actor, penalty=self._penalty())
        return {key: float(value) for key, value in metrics.items()} | {"penalty": self._penalty()}

    def _batch(self) -> dict[str, Any]:
        demos = round(self.config.batch_size * self.config.demo_ratio) if len(self.demos) else 0
        online = self.replay.sample(self._rng, self.config.batch_size - demos)
        if not demos:
            return as_tensors(online)
        expert = self.demos.sample(self._rng, demos)
        return as_tensors({key: np.concatenate((online[key], expert[key])) for key in online})

    def _penalty(self) -> float:
        """Weight of the squared residual: falls geometrically over `residual_penalty_steps` control steps."""
        start, end = self.config.residual_penalty_start, self.config.residual_penalty_end
        share = min(max(self.steps - self.config.warmup_steps, 0) / self.config.residual_penalty_steps, 1.0)
        return start * (end / start) ** share if start > 0 and end > 0 else start + (end - start) * share
