"""The scripted expert: a task's script, with noise, as an actor in any action space of the tool.

Scripts read the same observation channels as a policy, so one expert serves every backend. Noise comes from
a generator per world, seeded at its reset.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.action_space import MAX_ANGULAR_STEP, MAX_LINEAR_STEP
from robolearn.errors import UserError, nearest
from robolearn.schema import Schema
from robolearn.sim.experts.drawer_place import drawer_place
from robolearn.sim.experts.edge_grasp import edge_grasp
from robolearn.sim.experts.lift import lift
from robolearn.sim.experts.peg_insert import peg_insert
from robolearn.sim.experts.pick_place import pick_place
from robolearn.sim.experts.push import push
from robolearn.sim.experts.reach import reach
from robolearn.sim.experts.scene import Scene
from robolearn.sim.experts.script import Memory, Script
from robolearn.sim.experts.sort import sort
from robolearn.sim.experts.stack import stack
from robolearn.sim.experts.variation import Variation, VariedHand
from robolearn.sim.experts.wall_pivot import wall_pivot
from robolearn.sim.tasks import make_task

Array = NDArray[np.float64]
JITTER = 0.5  # standard deviation of a step at noise 1, as a share of the largest step

TOOL_SPACES = {"ee_delta": ("dx", "dy", "dz", "yaw"), "ee_delta_6d": ("dx", "dy", "dz", "rx", "ry", "rz")}
SCRIPTS: dict[str, Script] = {
    "drawer_place": drawer_place,
    "edge_grasp": edge_grasp,
    "lift": lift,
    "peg_insert": peg_insert,
    "pick_place": pick_place,
    "push": push,
    "reach": reach,
    "sort": sort,
    "stack": stack,
    "wall_pivot": wall_pivot,
}


class ScriptedExpert:
    """Demonstrates a task in `num_envs` worlds, imperfectly if asked.

    Attributes:
        noise: 0 is clean. Each step's displacement gets Gaussian noise of this share of the largest one,
            each episode aims beside the object by `noise` times `AIM_ERROR`.
        hand: what gives episodes other speeds, pauses, drops and early ends.
    """

    AIM_ERROR = 0.02  # m, standard deviation of the aim at noise 1

    def __init__(
        self, task: str, schema: Schema, num_envs: int, *, noise: float = 0.0, variation: Variation | None = None
    ) -> None:
        """Prepare the expert of `task`, whose own action space `schema` must have; `variation` is off when None."""
        if task not in SCRIPTS:
            raise UserError(f"no scripted expert for task '{task}'{nearest(task, SCRIPTS)}")
        made = make_task(task)
        names, space = schema.action.names[:-1], made.action_space
        if names != TOOL_SPACES[space]:
            raise UserError(f"the scripted expert of '{task}' acts in task.action_space={space}")
        if noise < 0:
            raise UserError("expert.noise must be 0 or more")
        self.script, self.schema, self.noise = SCRIPTS[task], schema, noise
        self._turns = slice(2, 3) if space == "ee_delta" else slice(0, 3)  # components of the rotation vector
        self._dim = len(names)
        self._low, self._high = np.array(schema.action.low), np.array(schema.action.high)
        self._rng = [np.random.default_rng(i) for i in range(num_envs)]
        self.memory = Memory.empty(num_envs)
        self.hand = VariedHand(variation or Variation(), num_envs, max_steps=made.max_episode_steps)

    def reset(self, seeds: Sequence[int], mask: NDArray[np.bool_] | None = None) -> None:
        """Begin an episode in the masked worlds (all when None)."""
        for i in range(len(self._rng)):
            if mask is None or mask[i]:
                self._rng[i] = np.random.default_rng((seeds[i], 1))
                self.memory.clear(i)
                self.hand.begin(i, seeds[i])
                self.memory.aim[i] = self._rng[i].standard_normal(3) * (1, 1, 0.5) * self.AIM_ERROR * self.noise

    def act(self, observation: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Return actions [num_envs, action_dim]."""
        motion = self.hand.ask(self.script, Scene(observation, self.schema), self.memory)
        gain = np.broadcast_to(motion.gain, len(self._rng))[:, None]
        move = np.clip(gain * motion.move, -MAX_LINEAR_STEP, MAX_LINEAR_STEP)
        turn = np.clip(gain * motion.turn[:, self._turns], -MAX_ANGULAR_STEP, MAX_ANGULAR_STEP)
        step = np.concatenate((move, turn), axis=1) * self.hand.speed[:, None]
        jitter = np.stack([rng.standard_normal(self._dim) for rng in self._rng]) * self.noise * JITTER
        step += jitter * self._high[:-1] * ~self.hand.still[:, None]
        action = np.concatenate((step, motion.opening[:, None] * self._high[-1]), axis=1)
        return np.clip(action, self._low, self._high).astype(np.float32)
