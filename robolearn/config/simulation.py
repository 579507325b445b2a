"""The simulated world, who acts in it, and the computers that it runs on."""

from __future__ import annotations

from dataclasses import dataclass

from robolearn.config.option import option


@dataclass(kw_only=True)
class TaskConfig:
    """What is to be done, and how time is cut."""

    name: str = option("task of the simulator")
    action_space: str = option("ee_delta, ee_delta_6d or joint_delta")
    fps: int = option("control steps per second", low=1)
    max_episode_steps: int = option("control steps until an episode is truncated", low=1)
    timestep: float = option("physics step in s", low=1e-4, high=0.05)


@dataclass(kw_only=True)
class RobotConfig:
    """The arm."""

    name: str = option("robot description")


@dataclass(kw_only=True)
class EnvConfig:
    """The batch of simulated worlds."""

    num_envs: int = option("worlds stepped together", low=1)
    threads: int = option("threads of physics and cameras", low=1)
    backend: str = option("mujoco, warp or isaacgym; robosuite, gymnasium: tasks of theirs; ros2: finetune on an arm")
    device: str | None = option("of warp or isaacgym, e.g. cuda:0; null lets them choose")
    cameras: list[str] = option("cameras whose pictures are observed: external, wrist")
    image_size: int = option("width and height of their pictures in pixels", low=1)


@dataclass(kw_only=True)
class ExpertConfig:
    """Who demonstrates."""

    kind: str = option("expert that demonstrates")
    noise: float = option("deviation of the noise on its actions, as a share of their bounds", low=0)
    failure: str | None = option("how it fails on purpose: no_grasp, slip, translation, ... or mix; null does not")
    speed: list[float] | None = option("range from which a script's episode draws its share of the full speed")
    pauses: int = option("most pauses of a script in an episode", low=0)
    drop: float = option("probability that a script opens the fingers once while it carries something", low=0, high=1)
    stop: float = option("probability that a script's hand stays for good before the end", low=0, high=1)
    checkpoint: str | None = option(
        "folder of a teacher or policy: the `out` of `robolearn teach`, `train` or `finetune`"
    )


@dataclass(kw_only=True)
class RandomizationConfig:
    """What every episode draws anew, uniformly from [low, high]; null leaves a thing as it is."""

    mass: list[float] | None = option("factor on the mass of objects")
    size: list[float] | None = option("factor on the size of objects")
    friction: list[float] | None = option("factor on all friction")
    joint_damping: list[float] | None = option("factor on the passive damping of the robot's joints")
    actuator_gain: list[float] | None = option("factor on stiffness and damping of the robot's servos")
    latency: list[int] | None = option("control steps by which actions come late")
    joint_noise: list[float] | None = option("deviation of the measured joint angles, rad")
    position_noise: list[float] | None = option("deviation of the measured positions of objects, m")
    rotation_noise: list[float] | None = option("deviation of the measured orientations of objects, rad")
    colour: list[float] | None = option("red, green and blue of bodies whose colour means nothing")
    camera_shift: list[float] | None = option("displacement of the cameras along their axes, m")
    camera_turn: list[float] | None = option("turn of the cameras about their axes, rad")
    light: list[float] | None = option("factor on the strength of the light")
    light_tilt: list[float] | None = option("angle by which the lamp stands elsewhere, rad")


@dataclass(kw_only=True)
class PrivilegeConfig:
    """What only the simulator permits a learner, and the curriculum that takes it away."""

    enabled: bool = option("whether there is any privilege")
    force: float = option("largest virtual force on an object, as a multiple of its weight", low=0)
    torque: float = option("largest virtual torque, as a share of what that force makes at its radius", low=0)
    reach: float = option("distance in m between tool and object up to which it acts", low=0)
    damping: float = option("damping of the objects' motion at level 1, 1/s", low=0)
    friction: float = option("friction of everything but the arm at level 1, as a share of the nominal", low=0, high=1)
    margin: float = option("distance in m at which finger pads begin to touch at level 1", low=0)
    speed: float = option("joint and gripper speed at level 1, as a multiple of the robot's", low=1)
    joint_slack: float = option("widening of the joint limits at level 1, rad", low=0)
    effort_penalty: float = option("reward lost per control step at the largest wrench and level 1", low=0)
    level: float = option("first level", low=0, high=1)
    step: float = option("change of the level", low=0, high=1)
    lower_at: float = option("success rate at the level from which it is lowered", low=0, high=1)
    raise_at: float = option("success rate below which it is raised again", low=0, high=1)
    window: int = option("episodes at the level over which success is counted", low=1)
    below_share: float = option("share of the episodes at levels drawn from 0 to the present one", low=0, high=1)


@dataclass(kw_only=True)
class RayConfig:
    """The cluster of launcher=ray."""

    address: str = option("auto: the running cluster; local: a new one on this machine; or HOST:PORT")
    cpus: float = option("CPUs that each worker reserves", low=0)
