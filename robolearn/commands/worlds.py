"""The worlds that a configuration names, on any backend."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from robolearn.config import EnvConfig, RandomizationConfig, RobotConfig, TaskConfig
from robolearn.errors import UserError, nearest

if TYPE_CHECKING:
    from robolearn.sim.backends.adapted import AdaptedVecEnv
    from robolearn.sim.vec_env import RobotVecEnv

OWN = ("mujoco", "warp", "isaacgym")  # backends of our tasks
ADAPTERS = ("robosuite", "gymnasium")  # backends of other people's
ONLY_OURS = "the backend '{}' has tasks of its own, without {}: give a task of ours and env.backend=mujoco"
ROBOSUITE = "robosuite/"


def backend_of(task: TaskConfig, env: EnvConfig) -> str:
    """The backend of a task: `env.backend`, but where that is "mujoco" the name may say whose task it is.

    "robosuite/Lift" is robosuite's; a name with a version, as "FetchPickAndPlace-v4", or of a module or namespace is
    one of Gymnasium. All of them run on MuJoCo.
    """
    if env.backend != "mujoco":
        return env.backend
    if task.name.startswith(ROBOSUITE):
        return "robosuite"
    return "gymnasium" if re.search(r"-v\d+$|[/:]", task.name) else env.backend


def make_env(
    task: TaskConfig,
    robot: RobotConfig,
    env: EnvConfig,
    *,
    num_envs: int | None = None,
    randomization: RandomizationConfig | None = None,
    autoreset: bool = False,
    reward: str = "sparse",
) -> RobotVecEnv:
    """Worlds of one of our tasks; by default the caller resets them.

    Raises:
        UserError: an unknown name, a robot that cannot reach what the task needs, an impossible range, a backend of
            other people's tasks.
    """
    if (backend := backend_of(task, env)) in ADAPTERS:
        raise UserError(ONLY_OURS.format(backend, "our stages, cameras and arms"))
    from robolearn.sim.randomization import Randomization

    ranges = Randomization() if randomization is None else Randomization(**asdict(randomization))
    constructor, options = _own(env)
    made: RobotVecEnv = constructor(
        task.name,
        robot.name,
        num_envs=env.num_envs if num_envs is None else num_envs,
        timestep=task.timestep,
        fps=task.fps,
        action_space=task.action_space,
        max_episode_steps=task.max_episode_steps,
        autoreset=autoreset,
        reward=reward,
        randomization=ranges if ranges.active else None,
        cameras=env.cameras,
        image_size=env.image_size,
        threads=env.threads,
        **options,
    )
    return made


def make_any_env(
    task: TaskConfig,
    robot: RobotConfig,
    env: EnvConfig,
    *,
    num_envs: int | None = None,
    randomization: RandomizationConfig | None = None,
) -> RobotVecEnv | AdaptedVecEnv:
    """Worlds on any backend, for an expert or a policy; the caller resets them, the reward is 1 on success.

    On the backend "robosuite" the task's name is robosuite's, on "gymnasium" it is a registered id, or a task of
    Meta-World as "Meta-World/assembly-v3"; see `backend_of`. Their worlds take `env.threads` processes.

    Raises:
        UserError: an unknown name, a missing package, or what only our own tasks have.
    """
    backend = backend_of(task, env)
    if backend not in ADAPTERS:
        return make_env(task, robot, env, num_envs=num_envs, randomization=randomization)
    if env.cameras:
        raise UserError(ONLY_OURS.format(backend, "our cameras"))
    if randomization is not None and any(value is not None for value in asdict(randomization).values()):
        raise UserError(ONLY_OURS.format(backend, "randomization"))
    worlds = env.num_envs if num_envs is None else num_envs
    settings: dict[str, Any] = {
        "num_envs": worlds,
        "processes": min(env.threads, worlds) if env.threads > 1 else 0,
        "max_episode_steps": task.max_episode_steps,
        "reward": "sparse",
        "autoreset": False,
    }
    if backend == "robosuite":
        from robolearn.sim.backends.robosuite import RobosuiteVecEnv

        return RobosuiteVecEnv(task.name.removeprefix(ROBOSUITE), robot=robot.name, fps=task.fps, **settings)
    from robolearn.sim.backends.gymnasium import GymnasiumVecEnv

    return GymnasiumVecEnv(task.name, **settings)


def _own(env: EnvConfig) -> tuple[Callable[..., RobotVecEnv], dict[str, Any]]:
    """Constructor of a backend of our tasks, and its own options."""
    device = {} if env.device is None else {"device": env.device}
    if env.backend == "mujoco":
        from robolearn.sim.backends.mujoco import MujocoVecEnv

        if device:
            raise UserError("env.device is for env.backend=warp or isaacgym: MuJoCo runs on the CPU")
        return MujocoVecEnv, {}
    if env.backend == "warp":
        from robolearn.sim.backends.warp import WarpVecEnv

        return WarpVecEnv, device
    if env.backend == "isaacgym":
        from robolearn.sim.backends.isaacgym import IsaacGymVecEnv

        return IsaacGymVecEnv, device
    if env.backend == "ros2":
        raise UserError(
            "env.backend=ros2 is an arm: only `robolearn finetune` takes it; `robolearn deploy` runs a bundle"
        )
    raise UserError(f"unknown env.backend '{env.backend}'{nearest(env.backend, (*OWN, *ADAPTERS))}")
