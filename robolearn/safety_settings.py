"""Limits and watchdogs of an arm as options: one definition for the command line, the node's parameters and the loop.

What is infinite never acts: `.inf` in YAML, `inf` on the command line. Without NumPy, as `robolearn.execution` is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from math import inf
from typing import TYPE_CHECKING, Any

from robolearn.errors import UserError
from robolearn.ranges import limited, require_ranges

if TYPE_CHECKING:
    from robolearn.robot import RobotSpec


@dataclass(kw_only=True)
class SafetySettings:
    """Each field's metadata say what it is and its range; see docs/deploy.md."""

    position_margin: float = limited(0.0, "rad that joints keep from the ends of their range", low=0, high=1)
    velocity_share: float = limited(1.0, "of the joints' velocity limits that may be used", low=0.01, high=1)
    acceleration_share: float = limited(1.0, "of their acceleration limits", low=0.1, high=1)
    jerk_share: float = limited(1.0, "of their jerk limits", low=0.01, high=1)
    workspace_margin: float = limited(0.05, "m that the tool may get beyond the robot's workspace", low=0)
    effort_limits: tuple[float, ...] = limited((), "N m of each joint, or one for all, that mean contact; empty: off")
    force_limit: float = limited(inf, "N of the wrench that mean contact", low=0)
    torque_limit: float = limited(inf, "N m of the wrench that mean contact", low=0)
    contact_time: float = limited(0.05, "s for which effort or wrench must be beyond: then fault", low=0, high=10)
    collision_check: bool = limited(
        True, "stop before the arm meets itself or the table, by the bundle's collision model"
    )
    collision_margin: float = limited(0.01, "m that parts of the arm keep from each other", low=0, high=0.2)
    table_margin: float = limited(0.01, "m that the arm keeps from the table", low=0, high=0.2)
    fingers_touch_table: bool = limited(True, "the fingers alone may touch the table")
    allowed_contacts: tuple[str, ...] = limited((), "pairs GEOM/GEOM of the collision model that are left aside")
    frozen_after: float = limited(
        0.25, "s without any change of the joint states while commands move: then fault", low=0
    )
    frozen_motion: float = limited(0.05, "rad that commands must have moved meanwhile", low=0)
    tracking_error: float = limited(0.35, "rad between command and joint: then fault", low=0)
    joint_jump: float = limited(
        0.1, "rad that a joint may be measured further than it can have moved: then fault", low=0
    )
    clock_jump: float = limited(0.2, "s that stamps may jump against our clock: then fault", low=0)
    rejected_window: float = limited(1.0, "s for which refused commands are counted", low=0.01, high=60)
    rejected_share: float = limited(0.5, "of the commands in that time that may be refused: then fault", low=0.001)

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            UserError: a value is out of its range.
        """
        require_ranges(self)
        # lists where they come from a configuration
        self.effort_limits, self.allowed_contacts = tuple(self.effort_limits), tuple(self.allowed_contacts)
        if not all(0 < limit < inf for limit in self.effort_limits):
            raise UserError(f"effort_limits={self.effort_limits}: give positive numbers in N m, or none")
        for pair in self.allowed_contacts:
            if len(pair.split("/")) != 2:
                raise UserError(f"allowed_contacts: '{pair}' is no pair, write GEOM/GEOM")

    def restrict(self, robot: RobotSpec) -> RobotSpec:
        """The robot with the limits that commands may use."""
        margin = self.position_margin

        def shared(values: tuple[float, ...], share: float) -> tuple[float, ...]:
            return tuple(share * value for value in values)

        return replace(
            robot,
            lower=tuple(value + margin for value in robot.lower),
            upper=tuple(value - margin for value in robot.upper),
            max_velocity=shared(robot.max_velocity, self.velocity_share),
            max_acceleration=shared(robot.max_acceleration, self.acceleration_share),
            max_jerk=shared(robot.jerk_limits, self.jerk_share),
        )


def as_options(settings: SafetySettings) -> dict[str, str | float | bool]:
    """Values by name, lists as text with commas: what command lines and ROS parameters can say."""
    return {spec.name: _plain(getattr(settings, spec.name)) for spec in fields(settings)}


def from_options(options: Mapping[str, Any]) -> SafetySettings:
    """Read what `as_options` wrote; other names are left aside.

    Raises:
        UserError: a value is no number or out of its range.
    """
    values = {spec.name: options[spec.name] for spec in fields(SafetySettings) if spec.name in options}
    values["allowed_contacts"] = _words(values.get("allowed_contacts", ""))
    try:
        values["effort_limits"] = tuple(float(word) for word in _words(values.get("effort_limits", "")))
    except ValueError as error:
        raise UserError(f"effort_limits={options['effort_limits']}: write numbers with commas between") from error
    return SafetySettings(**values)


def _plain(value: Any) -> Any:
    return ",".join(str(part) for part in value) if isinstance(value, tuple) else value


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())
