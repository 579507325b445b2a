"""From an id to a Gymnasium environment, and from what can go wrong on the way to one sentence."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import gymnasium

from robolearn.errors import UserError, nearest
from robolearn.sim.backends import metaworld_shim
from robolearn.sim.backends.gymnasium_robotics_shim import load_gymnasium_robotics
from robolearn.sim.backends.metaworld_shim import load_metaworld

PROVIDERS = {  # how an id begins: the module that registers it, the distribution to install
    metaworld_shim.PREFIX: ("metaworld", "metaworld"),
    "Fetch": ("gymnasium_robotics", "gymnasium-robotics"),
    "Hand": ("gymnasium_robotics", "gymnasium-robotics"),
    "Adroit": ("gymnasium_robotics", "gymnasium-robotics"),
    "FrankaKitchen": ("gymnasium_robotics", "gymnasium-robotics"),
    "PointMaze": ("gymnasium_robotics", "gymnasium-robotics"),
    "AntMaze": ("gymnasium_robotics", "gymnasium-robotics"),
    "gym_aloha/": ("gym_aloha", "gym-aloha"),
    "gym_pusht/": ("gym_pusht", "gym-pusht"),
    "robolearn/": ("robolearn.sim.single_env", "robolearn"),
}
LOADERS: dict[str, Callable[[], object]] = {  # modules that need more than an import
    "metaworld": load_metaworld,
    "gymnasium_robotics": load_gymnasium_robotics,
}
HAND = ("dx", "dy", "dz", "gripper")
ARMS = {metaworld_shim.PREFIX: ("sawyer", HAND), "Fetch": ("fetch", HAND)}  # how an id begins: arm, its actions' names


def make_single(env_id: str, *, max_episode_steps: int | None = None, **kwargs: Any) -> gymnasium.Env[Any, Any]:
    """`gymnasium.make`, which finds the packages of `PROVIDERS` by itself and knows Meta-World's tasks by their names.

    Args:
        env_id: registered id, "module:id" where importing the module registers it, or "Meta-World/assembly-v3".
        max_episode_steps: of Gymnasium's time limit; the environment's own when None.
        **kwargs: for the environment.

    Raises:
        UserError: unknown id, package not installed, an argument that the environment does not take, or an id of no
            single world.
    """
    _register(env_id)
    try:
        if is_metaworld_task(env_id):
            name = env_id.removeprefix(metaworld_shim.PREFIX)
            return metaworld_shim.make_task(name, max_episode_steps=max_episode_steps, **kwargs)
        return gymnasium.make(env_id, max_episode_steps=max_episode_steps, disable_env_checker=True, **kwargs)
    except gymnasium.error.UnregisteredEnv as error:
        raise UserError(f"unknown environment '{env_id}'{nearest(env_id, gymnasium.registry)}") from error
    except (gymnasium.error.DependencyNotInstalled, ModuleNotFoundError) as error:
        raise UserError(f"'{env_id}' needs a package that is not installed: {error}") from error
    except gymnasium.error.Error as error:
        raise UserError(f"'{env_id}' cannot be made as a single world: {error}") from error
    except TypeError as error:
        raise UserError(f"'{env_id}' cannot be made with the arguments {kwargs}: {error}") from error


def is_metaworld_task(env_id: str) -> bool:
    """Whether an id names a task of Meta-World, as "Meta-World/assembly-v3" does, and none of its benchmarks."""
    return env_id.startswith(metaworld_shim.PREFIX) and env_id not in gymnasium.registry


def arm_of(env_id: str) -> tuple[str, tuple[str, ...] | None]:
    """The arm that an environment moves and the names of its actions, where they are known; else the id and None."""
    return next((arm for start, arm in ARMS.items() if env_id.startswith(start)), (env_id, None))


def _register(env_id: str) -> None:
    """Import the module that an id names or that is known to provide it.

    One that we patch is loaded even where the id is known: somebody else may have imported it as it is.
    """
    provider = next((names for start, names in PROVIDERS.items() if env_id.startswith(start)), None)
    module, distribution = (env_id.split(":")[0], None) if ":" in env_id else provider or (None, None)
    if module is None or (env_id in gymnasium.registry and module not in LOADERS):
        return
    try:
        LOADERS.get(module, partial(import_module, module))()
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):  # something that it needs itself
            raise
        remedy = f"pip install {distribution}" if distribution else "install the package that has it"
        raise UserError(f"'{env_id}' needs the module '{module}': {remedy}") from error
