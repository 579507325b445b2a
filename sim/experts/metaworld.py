"""Meta-World's own scripted policies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.schema import Schema

Array = NDArray[np.float64]
HAND = slice(0, 3)  # of the observation: position of the hand, m


def metaworld(task: str, schema: Schema) -> Callable[[Mapping[str, Array], Array], Array]:
    """Script of "Meta-World/<name>"; all fifty tasks have one.

    Its steps are clipped to the largest as the environment does; the noise comes on top of that.

    Raises:
        UserError: the name is that of a benchmark.
    """
    from metaworld.policies import ENV_POLICY_MAP

    policies: dict[str, Any] = ENV_POLICY_MAP
    name = task.partition("/")[2]
    if name not in policies:
        raise UserError(f"no scripted expert for '{task}': name a single task, as Meta-World/assembly-v3")
    policy = policies[name]()

    def act(scene: Mapping[str, Array], aim: Array) -> Array:
        seen = scene["observation.state"].copy()
        seen[HAND] -= aim
        return np.clip(policy.get_action(seen), -1.0, 1.0).astype(np.float64)

    return act
