"""From an id to a Gymnasium environment, and from what can go wrong on the way to one sentence."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import gymnasium

from robolearn.errors import UserError, nearest

PROVIDERS = {  # how an id begins: the module that registers it, the distribution to install
    "Meta-World/": ("metaworld", "metaworld"),
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


def make_single(env_id: str, *, max_episode_steps: int | None = None, **kwargs: Any) -> gymnasium.Env[Any, Any]:
    """`gymnasium.make`, which finds the packages of `PROVIDERS` by itself.

    Args:
        env_id: registered id, or "module:id" where importing the module registers it.
        max_episode_steps: of Gymnasium's time limit; the environment's own when None.
        **kwargs: for the environment.

    Raises:
        UserError: unknown id, package not installed, or an argument that the environment does not take.
    """
    _register(env_id)
    try:
        return gymnasium.make(env_id, max_episode_steps=max_episode_steps, disable_env_checker=True, **kwargs)
    except gymnasium.error.UnregisteredEnv as error:
        raise UserError(f"unknown environment '{env_id}'{nearest(env_id, gymnasium.registry)}") from error
    except (gymnasium.error.DependencyNotInstalled, ModuleNotFoundError) as error:
        raise UserError(f"'{env_id}' needs a package that is not installed: {error}") from error
    except TypeError as error:
        raise UserError(f"'{env_id}' cannot be made with the arguments {kwargs}: {error}") from error


def _register(env_id: str) -> None:
    """Import the module that an id names or that is known to provide it, unless it is registered already."""
    if env_id in gymnasium.registry:
        return
    provider = next((names for start, names in PROVIDERS.items() if env_id.startswith(start)), None)
    module, distribution = (env_id.split(":")[0], None) if ":" in env_id else provider or (None, None)
    if module is None:
        return
    try:
        import_module(module)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):  # something that it needs itself
            raise
        remedy = f"pip install {distribution}" if distribution else "install the package that has it"
        raise UserError(f"'{env_id}' needs the module '{module}': {remedy}") from error
