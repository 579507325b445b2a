"""Self-collision and table: how near the arm's parts come to each other, by MuJoCo's geometry.

The one module of the robot's side that needs MuJoCo, and only its kinematics and collision detection.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError, nearest
from robolearn.real.collision_file import require_primitives
from robolearn.robot import RobotSpec
from robolearn.safety_settings import SafetySettings

log = logging.getLogger(__name__)
Array = NDArray[np.float64]
Near = dict[tuple[int, int], float]  # distance in m of each pair of geoms within its margin
TINY = 1e-6  # m
SLACK = 0.005  # m by which contacts may seem further apart than the geoms are: more than was ever seen
TABLE = "table"  # geom of `robolearn.sim.collision`
AGREE = 1e-3  # m between the joints of model and robot
POSES = 8  # in which they are compared
UNCHECKED = "set collision_check=false to do without the check"


def collision_check(text: str | None, *, robot: RobotSpec, safety: SafetySettings, where: str) -> CollisionCheck | None:
    """The check of the collision model `text` of `where`, or None where the settings say that there is to be none.

    Raises:
        UserError: there is no model; else see `CollisionCheck`.
    """
    if not safety.collision_check:
        log.warning("the collision check is off: nothing keeps the arm from meeting itself or the table")
        return None
    if text is None:
        raise UserError(f"{where} has no collision model: export it again with this version, or {UNCHECKED}")
    return CollisionCheck(text, robot=robot, safety=safety)


class CollisionCheck:
    """Says when a command, or braking from it, would bring two parts of the arm, or the arm and its table, together."""

    def __init__(self, text: str, *, robot: RobotSpec, safety: SafetySettings) -> None:
        """Compile the collision model `text` (`robolearn.sim.collision` writes it).

        Raises:
            UserError: MuJoCo is missing; the model holds what it must not, or is not of this robot; a pair is unknown.
        """
        try:
            import mujoco
        except ImportError as error:
            raise UserError(f"the collision check needs MuJoCo (pip install mujoco), or {UNCHECKED}") from error
        require_primitives(text)
        self._mujoco: Any = mujoco
        self._safety = safety
        try:
            self._compile(text, robot)
        except ValueError as error:
            raise UserError(f"MuJoCo does not take the collision model: {error}; export the bundle again") from error
        self._allowed = {self._pair(text) for text in safety.allowed_contacts}
        if safety.fingers_touch_table:
            self._allowed |= self._fingers_and_table(robot)
        self._require_same(robot)
        self._near: Near = {}

    def reset(self, position: Array) -> None:
        """Commands begin at `position` [n_joints + 1]: what is near there may stay so, but come no nearer."""
        self._near = self.near(position)

    def touching(self, position: Array) -> str:
        """What touches at `position` [n_joints + 1], as a sentence; "" if nothing."""
        for pair, distance in self.near(position).items():
            if distance <= 0.0:
                return f"{self._names(pair)} touch: move the arm apart first"
        return ""

    def threat(self, command: Array, rest: Array) -> str:
        """Why the arm must not go to `command`, from which braking would end at `rest` [n_joints + 1]; "" if it may."""
        near = self.near(command)
        for places in (near,) if np.array_equal(command, rest) else (near, self.near(rest)):
            for pair, distance in places.items():
                if distance < self._near.get(pair, np.inf) - TINY:
                    return f"{self._names(pair)} would come within {max(distance, 0.0) * 1e3:.0f} mm of each other"
        # never less than it was: many small steps would add up
        self._near = {pair: max(distance, self._near.get(pair, distance)) for pair, distance in near.items()}
        return ""

    def near(self, position: Array) -> Near:
        """Pairs of geoms that are nearer to each other than their margin at `position` [n_joints + 1]."""
        data = self._data
        data.qpos[self._at] = np.append(position[:-1], (position[-1] / 2, position[-1] / 2))
        self._mujoco.mj_kinematics(self._model, data)
        self._mujoco.mj_collision(self._model, data)
        pairs = self._near_boxes(data.geom_xpos)
        if data.ncon:
            pairs |= {(min(geoms), max(geoms)) for geoms in data.contact.geom.tolist()}
        found: Near = {}
        for pair in pairs - self._allowed:
            margin = self._margin(pair)
            distance = self._mujoco.mj_geomDistance(self._model, data, *pair, margin, None)
            if distance < margin:
                found[pair] = distance
        return found

    def _near_boxes(self, centres: Array) -> set[tuple[int, int]]:
        """Pairs of boxes whose bounding spheres are near: contacts between boxes may seem centimetres too far apart."""
        one, other = self._boxes.T
        apart = centres[one] - centres[other]
        near = np.einsum("ij,ij->i", apart, apart) < self._reach**2
        return set(map(tuple, self._boxes[near].tolist()))

    def _margin(self, pair: tuple[int, int]) -> float:
        safety = self._safety
        return safety.table_margin if self._standing[list(pair)].any() else safety.collision_margin

    def _compile(self, text: str, robot: RobotSpec) -> None:
        spec = self._mujoco.MjSpec.from_string(text)
        for geom in spec.geoms:  # of two geoms they add up
            geom.gap = (max(self._safety.collision_margin, self._safety.table_margin) + SLACK) / 2
        self._model = spec.compile()
        self._data = self._mujoco.MjData(self._model)
        self._standing: NDArray[np.bool_] = self._model.geom_bodyid == 0
        self._boxes = self._box_pairs()
        radius = self._model.geom_rbound[self._boxes].sum(axis=1)
        self._reach: Array = radius + max(self._safety.collision_margin, self._safety.table_margin)
        joints = {self._model.joint(i).name: i for i in range(self._model.njnt)}
        wanted = (*robot.joint_names, *robot.gripper_joints)
        if set(joints) != set(wanted):
            raise UserError(f"the collision model has the joints {', '.join(joints)}, the robot {', '.join(wanted)}")
        self._joints = [joints[name] for name in wanted]
        self._at = self._model.jnt_qposadr[self._joints]

    def _fingers_and_table(self, robot: RobotSpec) -> set[tuple[int, int]]:
        """Pairs of each finger's geoms and the geom `table`; other things that stand there are none of it."""
        model, kind = self._model, self._mujoco.mjtObj.mjOBJ_GEOM
        table = self._mujoco.mj_name2id(model, kind, TABLE)
        if table < 0:
            return set()
        bodies = {model.jnt_bodyid[model.joint(name).id] for name in robot.gripper_joints}
        fingers = np.flatnonzero(np.isin(model.geom_bodyid, list(bodies))).tolist()
        return {(min(finger, table), max(finger, table)) for finger in fingers}

    def _box_pairs(self) -> NDArray[np.int64]:
        """Pairs of boxes [n, 2] in bodies that may meet."""
        model = self._model
        excluded = {tuple(sorted(divmod(signature, 1 << 16))) for signature in model.exclude_signature.tolist()}
        boxes = np.flatnonzero(model.geom_type == self._mujoco.mjtGeom.mjGEOM_BOX).tolist()
        pairs = []
        for one, other in combinations(boxes, 2):
            bodies = model.geom_bodyid[[one, other]]
            fixed = len(set(model.body_weldid[bodies].tolist())) == 1
            if not fixed and tuple(sorted(bodies.tolist())) not in excluded:
                pairs.append((one, other))
        return np.array(pairs, np.int64).reshape(-1, 2)

    def _require_same(self, robot: RobotSpec) -> None:
        """Compare where the joints are with the robot's own kinematics."""
        rng, data = np.random.default_rng(0), self._data
        arm = self._joints[: robot.n_joints]
        for q in rng.uniform(robot.lower, robot.upper, (POSES, robot.n_joints)):
            self.near(np.append(q, 0.0))
            off = np.abs(data.xanchor[arm] - robot.chain.forward(q).anchors).max()
            if not off <= AGREE:
                raise UserError(
                    f"the collision model's joints are {off:.3f} m from those of robot '{robot.name}': "
                    f"export the bundle again"
                )

    def _pair(self, text: str) -> tuple[int, int]:
        names = {self._model.geom(i).name: i for i in range(self._model.ngeom)}
        ids = []
        for name in text.split("/"):
            if name not in names:
                raise UserError(f"allowed_contacts: the collision model has no geom '{name}'{nearest(name, names)}")
            ids.append(names[name])
        return min(ids), max(ids)

    def _names(self, pair: Sequence[int]) -> str:
        return " and ".join(self._model.geom(i).name for i in pair)
