"""An `ArmEnv` on a toy arm, without threads and in virtual time, and the people around it."""

import numpy as np
from test_real_controller import FORWARD, PERIOD, ROBOT, SCHEMA, SPACE, FakeArm

from robolearn.real.arm_env import ArmEnv
from robolearn.real.settings import Settings

BACK = np.array((-0.01, 0.0, 0.0, 0.0, 0.02), np.float32)
STEPS = round(0.05 / PERIOD)  # control periods, give or take one, of a control step


class Virtual:
    """Calls the periods while the environment waits; `hooks` are called at times, in control periods."""

    def __init__(self, controller, handover):
        self.controller, self.periods, self.hooks, self.closed = controller, 0, {}, False

    @property
    def now(self):
        return self.periods * PERIOD

    def wait(self, done, timeout):
        limit = self.now + timeout
        while not done():
            if self.now > limit:
                return False
            self.run(1)
        return True

    def run(self, periods):
        for _ in range(periods):
            if (hook := self.hooks.pop(self.periods, None)) is not None:
                hook()
            self.controller.period(self.now)
            self.periods += 1

    def close(self):
        self.closed = True


class Scene:
    def __init__(self, goes_home=False):
        self.goes_home, self.reasons, self.seeds, self.poses = goes_home, [], [], []
        self.arm = None

    def recover(self, reason):
        self.reasons.append(reason)
        self.arm.old = 0.0

    def arrange(self, seed):
        self.seeds.append(seed)
        self.poses.append(self.arm.pose.copy())


class Button:
    """A source of success that is pressed."""

    def __init__(self):
        self.said = None

    def clear(self):
        self.said = None

    def verdict(self, observation):
        return self.said


class Bench:
    def __init__(self, *, goes_home=False, success=None, max_episode_steps=100, deadline=0.02):
        self.arm, self.scene, self.button = FakeArm(), Scene(goes_home), Button()
        self.scene.arm, self.person = self.arm, None
        self.widths = []  # of the gripper, as who may take over was told
        self.env = ArmEnv(
            robot=self.arm,
            scene=self.scene,
            success=success or self.button,
            person=self.takeover,
            schema=SCHEMA,
            action_space=SPACE,
            settings=Settings(rate=1 / PERIOD, deadline=deadline),
            instruction="move",
            stage_names=("move",),
            max_episode_steps=max_episode_steps,
            drive=self.drive,
            clock=lambda: self.driven.now if hasattr(self, "driven") else 0.0,
        )

    def takeover(self, held):
        self.widths.append(float(held[-1]))
        return self.person

    def drive(self, controller, handover):
        self.driven = Virtual(controller, handover)
        self.driven.run(2)  # a thread may be ahead of who starts it
        return self.driven

    def step(self, action=FORWARD):
        return self.env.step(action[None])

    def later(self, periods, hook):
        self.driven.hooks[self.driven.periods + periods] = hook

    @property
    def tool(self):
        return ROBOT.chain.forward(self.arm.pose[:-1]).tool_pos


def started(**options):
    bench = Bench(**options)
    bench.env.reset(seed=[7])
    return bench
