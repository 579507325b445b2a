"""The arm of env.backend=ros2, as far as it needs no ROS."""

import pytest

from robolearn.commands.arm import arm_schema, running_arm
from robolearn.commands.finetune import _Exploring
from robolearn.commands.worlds import make_env
from robolearn.compose import build, compose
from robolearn.errors import UserError
from robolearn.real.ros2 import processes
from robolearn.schema import SchemaError


def config_of(*words):
    return build("finetune", compose("finetune", ["checkpoint=c", "dataset=d", "env.num_envs=1", *words]))


@pytest.mark.parametrize("words", [(), ("task=push", "robot=ur5e"), ("task.action_space=joint_delta",)])
def test_an_arm_has_the_channels_of_the_simulated_task(words):
    config = config_of(*words)
    env = make_env(config.task, config.robot, config.env)
    arm_schema(config.task, config.robot).require_same(env.schema)
    env.close()


@pytest.mark.ros
def test_a_real_arm_is_found_where_it_is(tmp_path):
    pytest.importorskip("rclpy")
    config = config_of("arm.simulated=false", "arm.domain_id=7")
    with running_arm(config.arm, config.task, config.robot, log=tmp_path / "arm.txt") as arm:
        assert (arm.domain, arm.config) == (7, config.arm)
    assert not (tmp_path / "arm.txt").exists()


@pytest.mark.ros
def test_a_simulated_arm_that_ends_says_why(tmp_path, monkeypatch):
    pytest.importorskip("rclpy")
    started = []

    class Kept(processes.Child):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            started.append(self)

    def explore():
        with running_arm(config.arm, config.task, config.robot, log=tmp_path / "arm.txt") as arm:
            assert arm.domain is not None
            started[0].process.wait(120)
            raise UserError("waited in vain for joint states")

    monkeypatch.setattr(processes, "Child", Kept)
    config = config_of("arm.control_rate=333")
    with pytest.raises(UserError, match="the simulated arm ended with status 2: 333 Hz: the period is no multiple"):
        explore()


def test_what_counts_on_an_arm_is_the_success_while_exploring():
    config = config_of()
    judge = _Exploring(arm_schema(config.task, config.robot))
    assert judge(None) == 0.0
    judge.explored(0.4)
    assert judge(None) == 0.4
    other = config_of("task.action_space=joint_delta")
    policy = type("Policy", (), {"schema": arm_schema(other.task, other.robot)})()
    with pytest.raises(SchemaError, match="'action'"):
        judge.require_fit(policy)
