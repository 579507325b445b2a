"""Tasks: one file each."""

from __future__ import annotations

from robolearn.errors import UserError, nearest
from robolearn.sim.tasks.lift import LIFT
from robolearn.sim.tasks.task import Task

TASKS: dict[str, Task] = {task.name: task for task in (LIFT,)}


def make_task(name: str) -> Task:
    """Return the task of this name; UserError names the nearest one."""
    if name not in TASKS:
        raise UserError(f"unknown task '{name}'{nearest(name, TASKS)}")
    return TASKS[name]
