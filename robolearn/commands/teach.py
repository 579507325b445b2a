"""`robolearn teach`: a PPO teacher, trained with privileged actions that a curriculum takes away."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robolearn.commands.common import (
    SELECT_SEED,
    claim,
    console,
    evaluate,
    load_checkpoint,
    progress,
    success_rate,
    use_one_thread,
)
from robolearn.commands.worlds import make_env
from robolearn.config import EnvConfig, PPOConfig, PrivilegeConfig, RobotConfig, TaskConfig, TeachConfig

if TYPE_CHECKING:
    from robolearn.rl.teacher import Teacher
    from robolearn.sim.privileged import PrivilegedVecEnv
    from robolearn.sim.vec_env import RobotVecEnv


def run(config: TeachConfig) -> None:
    """Teach, and say what was written."""
    out = Path(config.out)
    curve = teach(
        config.task, config.robot, config.env, config.ppo, config.privilege, seed=config.seed, out=out, label="teach"
    )
    last = curve[-1]
    console.print(
        f"success {last['success']:.2f} without privilege after {last['steps']:.0f} control steps, "
        f"level {last['level']:.2f}; teacher in {out}/teacher"
    )


def teach(
    task: TaskConfig,
    robot: RobotConfig,
    env_config: EnvConfig,
    ppo: PPOConfig,
    privilege: PrivilegeConfig,
    *,
    seed: int,
    out: Path,
    label: str | None = None,
) -> list[dict[str, float]]:
    """Train a teacher in `out`; resumes from its checkpoint. `label` shows a progress bar.

    Returns:
        The learning curve: control steps, success rate without privilege on seeds kept for choosing, level.
    """
    from robolearn.eval.plots import save_curve
    from robolearn.rl.rpd import Adviser
    from robolearn.rl.teaching import TeacherTrainer

    use_one_thread()
    kept = {key: value for key, value in asdict(ppo).items() if key not in ("total_steps", "stop_at")}
    claim(out, {"task": asdict(task), "robot": robot.name, "ppo": kept, "privilege": asdict(privilege), "seed": seed})
    env, curriculum = make_worlds(task, robot, env_config, ppo, privilege, seed=seed)
    judge = make_env(task, robot, env_config)
    adviser = None
    if ppo.imitate is not None:
        acting = load_checkpoint(Path(ppo.imitate), env.schema)
        adviser = Adviser(acting, env, action_repeat=ppo.action_repeat, seed=seed)
    trainer = TeacherTrainer(ppo, env=env, curriculum=curriculum, adviser=adviser, seed=seed, out=out)

    def judge_teacher(teacher: Teacher) -> float:
        return success_rate(evaluate(judge, teacher, first_seed=SELECT_SEED, episodes=ppo.eval_episodes)).rate

    with progress(label, ppo.total_steps) as advance:
        before = 0

        def on_progress(steps: int, text: str) -> None:
            nonlocal before
            advance(steps - before, text)
            before = steps

        on_progress(trainer.steps, "")
        curve = trainer.run(evaluate=judge_teacher, on_progress=on_progress)
    save_curve(out / "curve.png", curve)
    env.close()
    judge.close()
    return curve


def make_worlds(
    task: TaskConfig,
    robot: RobotConfig,
    env_config: EnvConfig,
    ppo: PPOConfig,
    privilege: PrivilegeConfig,
    *,
    seed: int,
) -> tuple[RobotVecEnv | PrivilegedVecEnv, Any]:
    """Worlds to learn in, and their curriculum or None."""
    from robolearn.sim.curriculum import Curriculum
    from robolearn.sim.privileged import Privilege, PrivilegedVecEnv

    env = make_env(task, robot, env_config, num_envs=ppo.num_envs, autoreset=True, reward=ppo.reward)
    if not privilege.enabled:
        return env, None
    settings = asdict(privilege)
    ends = {key: settings[key] for key in ("level", "step", "lower_at", "raise_at", "window", "below_share")}
    rest = {key: value for key, value in settings.items() if key not in ends and key != "enabled"}
    curriculum = Curriculum(**ends)
    return PrivilegedVecEnv(env, curriculum, Privilege(**rest), seed=seed), curriculum
