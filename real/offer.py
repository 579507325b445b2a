"""What a robot offers, as a schema, so that a bundle for another robot is refused by the channel's name."""

from __future__ import annotations

from collections.abc import Collection

from robolearn.errors import UserError
from robolearn.proprioception import objects_of, poses_feature, state_feature
from robolearn.real.bundle import Bundle
from robolearn.schema import Feature, Schema

STATE, POSES = "observation.state", "observation.environment_state"


def offered_schema(bundle: Bundle, *, joints: Collection[str], objects: Collection[str]) -> Schema:
    """Channels that a robot with these joints and object poses can give to a bundle.

    Order does not matter: joints and objects are found by name, others are left aside.

    Args:
        bundle: what is to run; its robot says which joints belong together.
        joints: names on the robot's joint states, fingers included.
        objects: names whose poses are published.

    Raises:
        UserError: naming the joint or object that is missing and the channel that needs it.
    """
    robot = bundle.robot
    for name in (*robot.joint_names, *robot.gripper_joints):
        if name not in joints:
            raise UserError(
                f"bundle {bundle.path} does not fit this robot: channel '{STATE}' needs joint '{name}', but the robot "
                f"publishes {', '.join(joints)}; use a bundle that was trained for it"
            )
    features: dict[str, Feature] = {STATE: state_feature(robot)}
    if POSES in bundle.schema.features:
        wanted = objects_of(bundle.schema[POSES])
        if missing := [name for name in wanted if name not in objects]:
            raise UserError(
                f"bundle {bundle.path} does not fit this robot: channel '{POSES}' needs the pose of '{missing[0]}', "
                f"but nobody publishes {pose_topic(missing[0])}; start the perception node or use another bundle"
            )
        features[POSES] = poses_feature(wanted)
    features["action"] = bundle.action_space.feature
    return Schema(features, bundle.schema.fps)


def pose_topic(name: str) -> str:
    """Topic of an object's pose in the base frame."""
    return f"/objects/{name}/pose"
