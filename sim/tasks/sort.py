"""Sort: put the named one of three objects into the named one of two bins."""

from __future__ import annotations

from dataclasses import replace

import mujoco
import numpy as np
from numpy.typing import NDArray

from robolearn.rotations import quat_about_z
from robolearn.sim.objects import BOX, add_free_object
from robolearn.sim.stages import Stage
from robolearn.sim.state import WorldState
from robolearn.sim.tasks.bins import OUTER, RIM, WALL, add_bin, in_bin_frame, over_bin
from robolearn.sim.tasks.grasping import grasp_stage, leaving, left, reach_stage
from robolearn.sim.tasks.placement import scatter
from robolearn.sim.tasks.task import Area, Start, Task

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

OBJECTS = ("cube", "cylinder", "block")
BINS = ("left_bin", "right_bin")  # as the robot sees them: left is +y
NAMES = {
    "cube": "red cube",
    "cylinder": "green cylinder",
    "block": "blue block",
    "left_bin": "left bin",
    "right_bin": "right bin",
}
PHRASES = (
    "put the {thing} into the {bin}",
    "place the {thing} in the {bin}",
    "sort the {thing} into the {bin}",
    "the {thing} belongs in the {bin}",
    "pick up the {thing} and put it in the {bin}",
    "move the {thing} to the {bin}",
    "fill the {bin} with the {thing}",
)
# never drawn; most have words that none above has: drop, is, where, goes, I, want, box, on, could, you, bring, over
HELD_OUT = (
    "drop the {thing} into the {bin}",
    "the {bin} is where the {thing} goes",
    "I want the {thing} in the {box}",
    "could you bring the {thing} over to the {box}",
)
BOXES = {"left_bin": "box on the left", "right_bin": "box on the right"}
CUBE, CYLINDER, BLOCK = (0.02, 0.02, 0.02), (0.02, 0.024), (0.016, 0.016, 0.028)  # half sizes, m
STANDING = (CUBE[2], CYLINDER[1], BLOCK[2])  # heights of their centres at the start, m
APART = 0.09  # m between objects at the start: room for the open fingers
DEPTH = 0.07  # m, extent along x of the part of the area where objects start; the bins stand behind it
TURN = 0.7  # largest turn of an object at the start, rad
THING, TARGET = "thing", "target"  # what is asked for, whatever its name


def build(spec: mujoco.MjSpec, area: Area) -> None:
    """Add the objects and the bins."""
    cylinder = mujoco.mjtGeom.mjGEOM_CYLINDER
    add_free_object(spec, "cube", BOX, CUBE, density=400.0, rgba=(0.85, 0.2, 0.15, 1))
    add_free_object(spec, "cylinder", cylinder, (*CYLINDER, 0.0), density=400.0, rgba=(0.2, 0.65, 0.25, 1))
    add_free_object(spec, "block", BOX, BLOCK, density=400.0, rgba=(0.15, 0.35, 0.85, 1))
    for name in BINS:
        add_bin(spec, name, rgba=(0.5, 0.5, 0.52, 1))


def place(rng: np.random.Generator, area: Area) -> Start:
    """Draw the poses of objects and bins, and what is asked for."""
    near = Area(area.low, (area.low[0] + DEPTH, area.high[1]))
    poses = {}
    for name, xy, z in zip(OBJECTS, scatter(rng, near, len(OBJECTS), distance=APART), STANDING, strict=True):
        poses[name] = (np.array((*xy, z)), quat_about_z(rng.uniform(-TURN, TURN)))
    for name, side in zip(BINS, (1, -1), strict=True):
        x = area.high[0] - OUTER - rng.uniform(0.0, 0.01)
        y = area.centre[1] + side * rng.uniform(0.07, 0.12)
        poses[name] = (np.array((x, y, 0.0)), quat_about_z(rng.uniform(-0.15, 0.15)))
    return Start(poses, variant=int(rng.integers(len(OBJECTS) * len(BINS))))


def asked(state: WorldState) -> WorldState:
    """Each world as if it had only the object and the bin that it is asked for, `THING` and `TARGET`."""
    thing, target = np.divmod(state.variant, len(BINS))
    index = np.array([state.names[name] for name in (*OBJECTS, *BINS)])
    chosen = index[np.stack((thing, len(OBJECTS) + target), axis=1)]
    worlds = np.arange(len(chosen))[:, None]
    return replace(
        state,
        body_pos=state.body_pos[worlds, chosen],
        body_quat=state.body_quat[worlds, chosen],
        half=state.half[worlds, chosen],
        names={THING: 0, TARGET: 1},
    )


def _inside(state: WorldState) -> Array:
    """The object [n, 3] in the frame of the bin, m."""
    return in_bin_frame(state, state.pos(THING), TARGET)


def carried(state: WorldState) -> Mask:
    """The object is over the opening of the bin, or in it."""
    return over_bin(_inside(state))


def placed(state: WorldState) -> Mask:
    """The object lies in the bin and the gripper has left it."""
    lying = WALL + max(*CUBE, *CYLINDER, *BLOCK) + 0.005  # m, no higher, whichever side it fell on
    return carried(state) & (_inside(state)[:, 2] < lying) & left(state, THING)


def _carry(state: WorldState) -> Array:
    """Progress [n]: a third for raising the object over the rim, the rest for the way to the bin."""
    inside = _inside(state)
    rise = np.clip(inside[:, 2] / (2 * RIM), 0.0, 1.0)
    return rise / 3 + (1 - np.tanh(5 * np.linalg.norm(inside[:, :2], axis=1))) * 2 / 3


def _release(state: WorldState) -> Array:
    """Progress [n]: half for sinking into the bin, half for letting go and leaving."""
    sunk = np.clip(1.5 - _inside(state)[:, 2] / (2 * RIM), 0.0, 1.0)
    return (sunk + leaving(state, THING)) / 2


def _of_asked(stage: Stage) -> Stage:
    """A stage on `THING` and `TARGET` as a stage on the whole scene."""
    return replace(stage, done=lambda s: stage.done(asked(s)), progress=lambda s: stage.progress(asked(s)))


STAGES = (
    reach_stage(THING, "the object"),
    grasp_stage(THING, "the object"),
    Stage("carry", "carry the object over the bin", carried, _carry),
    Stage("place", "let it go in the bin and withdraw", placed, _release),
)
SORT = Task(
    name="sort",
    instructions=tuple(
        tuple(phrase.format(thing=NAMES[thing], bin=NAMES[target]) for phrase in PHRASES)
        for thing in OBJECTS
        for target in BINS
    ),
    held_out=tuple(
        tuple(phrase.format(thing=NAMES[thing], bin=NAMES[target], box=BOXES[target]) for phrase in HELD_OUT)
        for thing in OBJECTS
        for target in BINS
    ),
    bodies=(*OBJECTS, *BINS),
    movable=OBJECTS,
    stages=tuple(_of_asked(stage) for stage in STAGES),
    build=build,
    place=place,
    space=(0.22, 0.34, 0.2),
    max_episode_steps=140,
    recolour=BINS,
)
