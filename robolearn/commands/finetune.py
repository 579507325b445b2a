"""`robolearn finetune`: improve a trained policy by online RL in simulation."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robolearn.commands.common import (
    SELECT_SEED,
    claim,
    console,
    evaluate,
    load_checkpoint,
    policy_actor,
    policy_folder,
    progress,
    success_rate,
    use_one_thread,
)
from robolearn.commands.worlds import make_any_env
from robolearn.config import AlgoConfig, EnvConfig, FinetuneConfig, RobotConfig, TaskConfig
from robolearn.errors import UserError
from robolearn.language import TASK

if TYPE_CHECKING:
    from robolearn.data.dataset import EpisodeDataset


def run(config: FinetuneConfig) -> None:
    """Fine-tune, and say what was written."""
    curve = finetune(
        config.task,
        config.robot,
        config.env,
        config.algo,
        checkpoint=Path(config.checkpoint),
        dataset=Path(config.dataset),
        seed=config.seed,
        out=Path(config.out),
    )
    best = max(point["success"] for point in curve)
    console.print(
        f"best success {best:.2f} within {curve[-1]['steps']:.0f} control steps; policy in {config.out}/policy"
    )


def finetune(
    task: TaskConfig,
    robot: RobotConfig,
    env_config: EnvConfig,
    algo: AlgoConfig,
    *,
    checkpoint: Path,
    dataset: Path,
    seed: int,
    out: Path,
) -> list[dict[str, float]]:
    """Run the algorithm on top of the policy in `checkpoint` and save both in `out / "policy"`; resumes from `out`.

    Returns:
        The learning curve: control steps and success rate, on seeds kept for choosing when to stop.
    """
    from robolearn.data.dataset import EpisodeDataset

    data = EpisodeDataset.load(dataset)
    from hydra.utils import get_class

    from robolearn.rl.correction import save_residual

    use_one_thread()
    judge = make_any_env(task, robot, env_config)
    policy, residual = load_checkpoint(checkpoint, judge.schema)
    if residual is not None:
        raise UserError(f"{checkpoint} is fine-tuned already: give its base policy; the same `out` goes on with a run")
    extendable = ("total_steps", "stop_at")
    kept = {key: value for key, value in asdict(algo).items() if key not in extendable}
    claim(out, {"algo": kept, "checkpoint": str(checkpoint), "dataset": str(dataset), "seed": seed})
    env = make_any_env(task, robot, env_config, num_envs=getattr(algo, "num_envs", None))
    policy_actor(judge, policy)  # says which channel does not fit
    trainer: Any = get_class(algo._target_)(
        algo,
        env=env,
        policy=policy,
        normalizer=policy.normalizer,
        demonstrations=[_told(data, k) for k in range(data.num_episodes)],
        seed=seed,
        out=out,
    )
    with progress("fine-tune", algo.total_steps) as advance:
        advance(trainer.steps)
        before, seen = trainer.steps, [point["success"] for point in trainer.curve]

        def judge_policy(correction: Any) -> float:
            actor = policy_actor(judge, policy, correction)
            episodes = evaluate(judge, actor, first_seed=SELECT_SEED, episodes=algo.eval_episodes)
            seen.append(success_rate(episodes).rate)
            return seen[-1]

        def on_progress(steps: int, recent: float) -> None:
            nonlocal before
            advance(steps - before, f"success {seen[-1]:.2f}, exploring {recent:.2f}")
            before = steps

        curve: list[dict[str, float]] = trainer.run(evaluate=judge_policy, on_progress=on_progress)
    shutil.copytree(policy_folder(checkpoint), out / "policy", dirs_exist_ok=True)
    policy.schema.save(out / "policy" / "schema.json")  # LeRobot's trainer keeps none
    save_residual(out / "policy", trainer.learner.best_actor)
    env.close()
    judge.close()
    return curve


def _told(data: EpisodeDataset, k: int) -> dict[str, NDArray[Any]]:
    """Channels of episode `k`, and what the robot was told at each frame."""
    frames = slice(data.starts[k], data.ends[k])
    return {**data.episode(k), TASK: np.array(data.instructions)[data.task_index[frames]]}
