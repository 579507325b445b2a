"""Tasks: one file each."""

from __future__ import annotations

from robolearn.errors import UserError, nearest
from robolearn.sim.tasks.drawer_place import DRAWER_PLACE
from robolearn.sim.tasks.edge_grasp import EDGE_GRASP
from robolearn.sim.tasks.lift import LIFT
from robolearn.sim.tasks.peg_insert import PEG_INSERT
from robolearn.sim.tasks.pick_place import PICK_PLACE
from robolearn.sim.tasks.push import PUSH
from robolearn.sim.tasks.reach import REACH
from robolearn.sim.tasks.sort import SORT
from robolearn.sim.tasks.stack import STACK
from robolearn.sim.tasks.task import Task
from robolearn.sim.tasks.wall_pivot import WALL_PIVOT

TASKS: dict[str, Task] = {
    task.name: task
    for task in (DRAWER_PLACE, EDGE_GRASP, LIFT, PEG_INSERT, PICK_PLACE, PUSH, REACH, SORT, STACK, WALL_PIVOT)
}


def make_task(name: str) -> Task:
    """Return the task of this name; UserError names the nearest one."""
    if name not in TASKS:
        raise UserError(f"unknown task '{name}'{nearest(name, TASKS)}")
    return TASKS[name]
