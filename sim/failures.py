"""Experts that fail on purpose, in the ways in which robots do: for data on what goes wrong.

The kinds are those of "AHA: A Vision-Language-Model for Detecting and Reasoning over Failures in Robotic Manipulation"
(Duan et al., 2024), and `no_retract`. A failing expert carries on as if nothing had happened. Whether an episode is a
failure is for the task's predicates to say: some go well all the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError, nearest
from robolearn.schema import Schema
from robolearn.sim.experts.scripted import ScriptedExpert
from robolearn.sim.experts.variation import Variation
from robolearn.sim.failing_script import FailingScript
from robolearn.sim.tasks import make_task
from robolearn.sim.tasks.task import Task

STREAM = 4  # draws come from seed (s, STREAM)
OFFSET = (0.03, 0.06)  # m by which a translation misses
KINDS = {
    "no_grasp": "the fingers do not close on the object",
    "slip": "the object drops out of the fingers on the way",
    "translation": "the gripper goes beside where it should",
    "rotation": "the gripper is turned wrongly",
    "no_rotation": "the gripper keeps its first orientation",
    "wrong_sequence": "the fingers close before the gripper is at the object",
    "wrong_object": "another object is taken, or another thing done than was asked for",
    "no_retract": "the gripper stays and does not let go",
}
MIX = "mix"


def kinds_for(task: Task) -> tuple[str, ...]:
    """The failures that make sense in a task."""
    return tuple(kind for kind in KINDS if _objection(kind, task) is None)


def _objection(kind: str, task: Task) -> str | None:
    stages = task.stage_names
    if kind == "wrong_object":
        return None if task.n_variants > 1 or len(task.movable) > 1 else "has one object and one thing to do"
    if kind != "translation" and "grasp" not in stages:
        return "has nothing to grasp"
    if kind == "no_retract" and stages[-1] == "lift":
        return "ends with the object in the hand"
    return None


class FailingExpert(ScriptedExpert):
    """A scripted expert that fails in one way, or in one drawn for each episode.

    Which way, when and by how much depends on the episode's seed alone.
    """

    def __init__(
        self,
        task: str,
        schema: Schema,
        num_envs: int,
        *,
        failure: str,
        noise: float = 0.0,
        variation: Variation | None = None,
    ) -> None:
        """Prepare the expert of `task`.

        Args:
            task: its name.
            schema: channels of the worlds.
            num_envs: number of worlds.
            failure: one of `KINDS`, or "mix" for one of those that make sense, drawn for each episode.
            noise: see `ScriptedExpert`.
            variation: likewise.

        Raises:
            UserError: no such failure, or none that makes sense in the task.
        """
        super().__init__(task, schema, num_envs, noise=noise, variation=variation)
        if failure != MIX and failure not in KINDS:
            raise UserError(f"unknown expert.failure '{failure}'{nearest(failure, (*KINDS, MIX))}")
        made = make_task(task)
        valid = kinds_for(made)
        if failure != MIX and failure not in valid:
            raise UserError(
                f"expert.failure={failure} makes no sense, for task '{task}' {_objection(failure, made)}; "
                f"valid: {', '.join((*valid, MIX))}"
            )
        self._kinds = valid if failure == MIX else (failure,)
        self._failing = FailingScript(self.script, made, num_envs)
        self.script = self._failing

    def failure_of(self, seed: int) -> str:
        """How the episode from `seed` fails."""
        return self._kinds[np.random.default_rng((seed, STREAM)).integers(len(self._kinds))]

    def reset(self, seeds: Sequence[int], mask: NDArray[np.bool_] | None = None) -> None:
        """See `ScriptedExpert.reset`."""
        super().reset(seeds, mask)
        for i in range(len(seeds)):
            if mask is None or mask[i]:
                kind = self.failure_of(seeds[i])
                rng = np.random.default_rng((seeds[i], STREAM, 1))
                self._failing.begin(i, kind, rng)
                if kind == "translation":
                    distance, direction = rng.uniform(*OFFSET), rng.uniform(0, 2 * np.pi)
                    self.memory.aim[i, :2] += distance * np.array((np.cos(direction), np.sin(direction)))
