"""What a robot offers, as a schema, so that a bundle for another robot is refused by the channel's name."""

from __future__ import annotations

from collections.abc import Collection

from robolearn.errors import UserError
from robolearn.proprioception import objects_of, poses_feature, state_feature
from robolearn.real.bundle import Bundle
from robolearn.schema import Feature, Schema

STATE, POSES, PICTURES = "observation.state", "observation.environment_state", "observation.images."


def offered_schema(
    bundle: Bundle, *, joints: Collection[str], objects: Collection[str], cameras: Collection[str] = ()
) -> Schema:
    """Channels that a robot with these joints, object poses and cameras can give to a bundle.

    Order does not matter: joints, objects and cameras are found by name, others are left aside. Pictures of any size
    are fitted to the bundle's.

    Args:
        bundle: what is to run; its robot says which joints belong together.
        joints: names on the robot's joint states, fingers included.
        objects: names whose poses are published.
        cameras: names whose pictures are published.

    Raises:
        UserError: naming the joint, object or camera that is missing and the channel that needs it.
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
    for camera, key in cameras_of(bundle.schema).items():
        if camera not in cameras:
            raise UserError(
                f"bundle {bundle.path} does not fit this robot: channel '{key}' needs the camera '{camera}', but "
                "nobody publishes its pictures; start its driver, say where they are (camera_topics) or use another "
                "bundle"
            )
        features[key] = bundle.schema[key]
    features["action"] = bundle.action_space.feature
    # in the bundle's order, which says nothing about the robot; what the robot lacks is missing, not elsewhere
    order = [key for key in bundle.schema if key in features] + [key for key in features if key not in bundle.schema]
    return Schema({key: features[key] for key in order}, bundle.schema.fps)


def cameras_of(schema: Schema) -> dict[str, str]:
    """The channel of each camera, by the camera's name."""
    pictures = [key for key, feature in schema.features.items() if feature.is_picture and key.startswith(PICTURES)]
    return {key.removeprefix(PICTURES): key for key in pictures}


def pose_topic(name: str) -> str:
    """Topic of an object's pose in the base frame."""
    return f"/objects/{name}/pose"


def camera_topic(name: str) -> str:
    """Topic of a camera's pictures, unless something else is said."""
    return f"/cameras/{name}/image_raw"
