"""A plant without physics for tests of the ROS 2 side: the arm is where it was told to be."""

from types import SimpleNamespace

import numpy as np

from robolearn.sim.robots import get_robot

STEP = 0.02  # rad or m that a command may move a joint: 4 ms of a fast arm's motion, and more
DISTANCE = 0.03  # m that the tool must move for success


class KinematicPlant:
    def __init__(self, cameras=()):
        self.cameras = cameras
        self.robot, self.objects = get_robot("panda"), ("cube",)
        self.reset(0)

    def reset(self, seed):
        offset = 0.01 * np.random.default_rng(seed).standard_normal(self.robot.n_joints)
        self.pose = np.array((*(np.array(self.robot.home) + offset), 0.06))
        self.begin = self.tool

    @property
    def tool(self):
        return self.robot.chain.forward(self.pose[:-1]).tool_pos

    @property
    def state(self):
        cube = (np.array(((0.5, 0.0, 0.02),)), np.array(((1.0, 0.0, 0.0, 0.0),)))
        joints = self.pose[None, :-1]
        return SimpleNamespace(
            joints=joints, joint_velocities=np.zeros_like(joints), width=self.pose[-1:], objects={"cube": cube}
        )

    @property
    def effort(self):
        return np.zeros(self.robot.n_joints)

    def step(self, command):
        if command is not None:  # an arm that was not told for long is not there at once
            self.pose = self.pose + np.clip(command - self.pose, -STEP, STEP)

    def pictures(self):
        return {name: np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3) for name in self.cameras}

    def hold(self):
        pass

    def stage(self):
        done = bool(np.linalg.norm(self.tool - self.begin) > DISTANCE)
        return int(done), done


def make_plant(*, cameras, **more):
    return KinematicPlant(cameras)
