"""`robolearn eval`: success rate of a policy in simulation, with its interval."""

from __future__ import annotations

from pathlib import Path

from robolearn.commands.common import (
    console,
    evaluate,
    load_checkpoint,
    policy_actor,
    save_result,
    success_rate,
    use_one_thread,
)
from robolearn.commands.strips import save_strips
from robolearn.commands.worlds import make_any_env
from robolearn.config import EvalConfig
from robolearn.errors import UserError
from robolearn.eval.report import Row, print_table


def run(config: EvalConfig) -> None:
    """Evaluate, print the table, and write results and film strips where `out` says."""
    from robolearn.sim.vec_env import RobotVecEnv

    use_one_thread()
    policy, correction = load_checkpoint(Path(config.checkpoint))
    env = make_any_env(config.task, config.robot, config.env)
    actor = policy_actor(env, policy, correction)
    record = config.out is not None
    if config.video and config.out is None:
        raise UserError("video=true needs a folder to write to: give out=FOLDER")
    episodes = evaluate(env, actor, first_seed=config.seed, episodes=config.episodes, label="evaluate", record=record)
    print_table([Row(config.checkpoint, success_rate(episodes))], console)
    if config.out is not None:
        outcomes = [{"seed": e.seed, "success": e.success, "length": e.length} for e in episodes]
        save_result(Path(config.out) / "episodes.json", {"checkpoint": config.checkpoint, "episodes": outcomes})
        if isinstance(env, RobotVecEnv):
            for path in save_strips(Path(config.out), env, episodes, video=config.video):
                console.print(f"picture {path}")
    env.close()
