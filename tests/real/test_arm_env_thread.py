"""An arm as an environment with the control thread of deployment; what is tested says nothing about punctuality."""

import threading
from typing import ClassVar

import pytest
from arm_bench import Button, Scene
from test_real_controller import FORWARD, SCHEMA, SPACE, FakeArm

from robolearn.real.arm_env import ArmEnv
from robolearn.real.settings import Settings


def threaded(arm):
    scene = Scene()
    scene.arm = arm
    return ArmEnv(
        robot=arm,
        scene=scene,
        success=Button(),
        person=lambda held: None,
        schema=SCHEMA,
        action_space=SPACE,
        settings=Settings(deadline=0.05, stale_after=60.0),  # a busy machine may keep the thread waiting
        instruction="move",
        stage_names=("move",),
        max_episode_steps=5,
    )


def test_it_runs_in_the_control_thread():
    class Told(FakeArm):
        senders: ClassVar = []

        def write(self, position):
            self.senders.append(threading.current_thread().name)
            super().write(position)

    arm = Told()
    env = threaded(arm)
    for seed in (0, 1):
        before = len(arm.sent)
        env.reset(seed=[seed])
        while not env.step(FORWARD[None])[3][0]:
            pass
        assert len(arm.sent) > before
    env.close()
    assert set(arm.senders) == {"control"}
    assert not any(thread.name == "control" for thread in threading.enumerate())


def test_a_control_thread_that_fails_is_told():
    class Broken(FakeArm):
        def write(self, position):
            raise OSError("the cable is out")

    def act():
        env.reset(seed=[0])
        env.step(FORWARD[None])

    env = threaded(Broken())
    with pytest.raises(RuntimeError, match=r"the control loop ended: (.|\n)*the cable is out"):
        act()
    with pytest.raises(RuntimeError, match="the control loop ended"):
        env.close()
