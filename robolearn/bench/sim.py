"""Speed of the simulator beside robosuite's, same task, same arm, same machine, taking turns."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import numpy as np

from robolearn.eval.results import Measure

SUMMARY = "control steps per second of `lift`, observations, rewards and resets included, beside robosuite's"
SEEDS = (0,)

NUM_ENVS, THREADS = 16, 2
FPS = 20
EPISODE_STEPS = 80
ROUNDS = 7  # the range of 7 covers the median with 98 % probability, whatever the distribution
SECONDS = 3.0  # a side and round


def run(progress: Callable[[str], None]) -> list[Measure]:
    """Measure ours, the bare physics of the same scene and robosuite in turns.

    All three advance the world by 1/20 s a step. Ours and robosuite take uniformly random actions, compute
    state observations and the reward at every step, and restart after 80 steps. robosuite is set to its
    fastest: no renderer, soft resets. It has one world per process and no threads.
    """
    turns = {"ours": _ours(), "physics": _bare_physics(), "robosuite": _robosuite()}
    for turn in turns.values():
        turn(0.5)
    rates: dict[str, list[float]] = {name: [] for name in turns}
    for i in range(ROUNDS):
        for name, turn in turns.items():
            rates[name].append(turn(SECONDS))
        progress(f"round {i + 1}/{ROUNDS}: " + ", ".join(f"{name} {r[-1]:,.0f}/s" for name, r in rates.items()))
    ours, physics, robosuite = rates["ours"], rates["physics"], rates["robosuite"]
    return [
        Measure("control_steps_per_s.lift", median(ours), "1/s", median(robosuite), (min(ours), max(ours))),
        _ratio("speedup.lift", ours, robosuite),
        _ratio("share_of_physics_limit.lift", ours, physics),
    ]


def _ratio(name: str, values: list[float], others: list[float]) -> Measure:
    ratios = [a / b for a, b in zip(values, others, strict=True)]
    return Measure(name, median(ratios), "1", None, (min(ratios), max(ratios)))


def _rate(step: Callable[[], None], worlds: int) -> Callable[[float], float]:
    """Return a function that calls `step` for some seconds and gives control steps per second."""

    def measure(seconds: float) -> float:
        steps, start = 0, time.perf_counter()
        while (spent := time.perf_counter() - start) < seconds:
            step()
            steps += worlds
        return steps / spent

    return measure


def _ours() -> Callable[[float], float]:
    from robolearn.sim.backends.mujoco import MujocoVecEnv

    env = MujocoVecEnv(
        "lift", "panda", num_envs=NUM_ENVS, threads=THREADS, fps=FPS, max_episode_steps=EPISODE_STEPS, reward="dense"
    )
    env.reset(seed=SEEDS[0])
    rng = np.random.default_rng(SEEDS[0])
    low, high = env.action_space.low, env.action_space.high  # type: ignore[attr-defined]

    def step() -> None:
        env.step(rng.uniform(low, high))

    return _rate(step, NUM_ENVS)


def _bare_physics() -> Callable[[float], float]:
    from robolearn.sim.backends.mujoco import Worlds
    from robolearn.sim.robots import get_robot
    from robolearn.sim.tasks import make_task

    worlds = Worlds(make_task("lift"), get_robot("panda"), num_worlds=NUM_ENVS, threads=THREADS)
    worlds.reset(range(NUM_ENVS))
    hold = worlds.command_here()
    substeps = round(1 / (FPS * worlds.model.opt.timestep))
    return _rate(lambda: worlds.step(hold, substeps), NUM_ENVS)


def _robosuite() -> Callable[[float], float]:
    from robolearn.sim.backends.robosuite_shim import load_robosuite

    env = load_robosuite().make(
        "Lift",
        robots="Panda",
        has_renderer=False,
        has_offscreen_renderer=False,
        use_camera_obs=False,
        control_freq=FPS,
        horizon=EPISODE_STEPS,
        hard_reset=False,
        seed=SEEDS[0],
    )
    env.reset()
    rng = np.random.default_rng(SEEDS[0])
    low, high = env.action_spec

    def step() -> None:
        *_, done, _ = env.step(rng.uniform(low, high))
        if done:
            env.reset()

    return _rate(step, 1)
