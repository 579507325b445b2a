"""What it costs a simulation that a vision-language model judges its pictures."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from robolearn.bench._turns import Turn, in_turns, rate, ratio, turn
from robolearn.eval.results import Measure

if TYPE_CHECKING:
    from robolearn.rewards.vlm.asynchronous import AsyncProgress
    from robolearn.sim.vec_env import RobotVecEnv

SUMMARY = "control steps per second of worlds with a camera while a vision-language model judges them (four minutes)"
SEEDS = (0,)

TASK, CAMERA = "pick_place", "external"
WORLDS, EVERY = 16, 10  # worlds; control steps between pictures that are judged
DELAY = 0.3  # s that the model takes for an answer
PARALLEL = 16  # questions that it answers at a time
ROUNDS = 7  # the range of 7 covers the median with 98 % probability, whatever the distribution
SECONDS = 8.0  # a side and round at least; whole episodes are run


def run(progress: Callable[[str], None]) -> list[Measure]:
    """Step worlds with random actions in turns: alone, with the model beside them, and waiting for the model.

    Each world has a camera of 84 x 84 pixels; simulation and camera run on one thread. In place of a model, a process
    of its own answers each question after a fixed time; three are asked about a picture. What the questions cost this
    process counts: to encode, send and read them. What a model would cost that shares the machine does not.

    Raises:
        RuntimeError: a question got no answer.
    """
    from robolearn.bench._vlm_server import serving
    from robolearn.rewards.vlm.make import make_vlm

    env = _worlds()
    make = partial(make_vlm, model="none", camera=CAMERA, every=EVERY, num_envs=WORLDS, parallel=PARALLEL)
    with serving(delay=DELAY) as url, make(url=url) as judged:
        rates = in_turns(_contenders(env, judged), rounds=ROUNDS, seconds=SECONDS, progress=progress)
        judged.wait()
        counters = judged.counters
    env.close()
    if counters.failed or counters.malformed:
        raise RuntimeError(f"{counters.failed} pictures were not judged, {counters.malformed} answers were malformed")
    return [
        rate("control_steps_per_s.alone", rates["alone"]),
        rate("control_steps_per_s.beside", rates["beside"], rates["alone"]),
        rate("control_steps_per_s.waiting", rates["waiting"], rates["alone"]),
        ratio("share_of_speed.beside", rates["beside"], rates["alone"]),
        ratio("share_of_speed.waiting", rates["waiting"], rates["alone"]),
        Measure("judgement_s.p50", counters.latency_p50, "s"),
        Measure("judgement_s.p99", counters.latency_p99, "s"),
        Measure("judgements", counters.answered, "1"),
    ]


def _worlds() -> RobotVecEnv:
    from robolearn.commands.worlds import make_env
    from robolearn.compose import build, compose

    words = [f"task={TASK}", f"env.cameras=[{CAMERA}]", "env.image_size=84", f"env.num_envs={WORLDS}", "env.threads=1"]
    config = build("eval", compose("eval", [*words, "checkpoint=none"]))
    return make_env(config.task, config.robot, config.env)


def _contenders(env: RobotVecEnv, judged: AsyncProgress) -> dict[str, Turn]:
    from robolearn.bench._lift import SEED, random_actions

    actions = random_actions(env, env.max_episode_steps)

    def episode(*, ask: bool, wait: bool) -> int:
        observation, _ = env.reset(seed=SEED)
        judged.reset()
        for action in actions:
            if ask:
                judged.update(observation, env.instructions)
            if wait:
                judged.wait()
            observation, *_ = env.step(action)
        return len(actions) * env.num_envs

    ways = {"alone": (False, False), "beside": (True, False), "waiting": (True, True)}
    # nobody works while answers to another's questions still arrive
    return {name: turn(partial(episode, ask=ask, wait=wait), prepare=judged.wait) for name, (ask, wait) in ways.items()}
