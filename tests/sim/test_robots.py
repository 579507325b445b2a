"""Every robot: kinematics, limits, reach and strength, and that the expert can use it."""

import json
from dataclasses import replace

import mujoco
import numpy as np
import pytest

from robolearn.action_space import damped_least_squares
from robolearn.compose import compose
from robolearn.errors import UserError
from robolearn.motion import MotionLimiter
from robolearn.robot import RobotSpec
from robolearn.sim.backends.mujoco import MujocoVecEnv
from robolearn.sim.experts.scripted import ScriptedExpert
from robolearn.sim.robots import ROBOTS, build_robot, get_robot
from robolearn.sim.robots.so101 import PLINTH
from robolearn.sim.scene import build_model
from robolearn.sim.tasks import make_task

TIMESTEP = 0.005
LAG = 0.04  # s by which drives follow their commands
LOWEST = 0.01  # m above the table that every gripper must reach
for_every_robot = pytest.mark.parametrize("robot", [get_robot(name) for name in ROBOTS], ids=list(ROBOTS))


def alone(robot):
    """The arm without table or objects."""
    spec = mujoco.MjSpec()
    spec.compiler.degree = False
    spec.option.timestep = TIMESTEP
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    build_robot(spec, robot)
    return spec.compile()


def pose(model, data, robot, joints, width):
    """Put the arm somewhere, at rest."""
    for name, q in zip(robot.joint_names, joints, strict=True):
        data.joint(name).qpos[0] = q
    for name in robot.gripper_joints:
        data.joint(name).qpos[0] = width / len(robot.gripper_joints)
    mujoco.mj_forward(model, data)


def controls(robot, joints, width):
    return np.append(joints, np.full(len(robot.gripper_joints), width / len(robot.gripper_joints)))


def measured(data, robot):
    return np.array([data.joint(name).qpos[0] for name in robot.joint_names])


def reach_for(robot, goals, steps=200):
    """Joints [n, n_joints] that bring the tool to `goals` [n, 3] with the gripper down, from home and within limits."""
    q = np.tile(robot.home, (len(goals), 1))
    for _ in range(steps):
        here = robot.chain.forward(q)
        way = np.clip(goals - here.tool_pos, -0.02, 0.02)
        twist = np.concatenate((way, np.cross(here.tool_rot[..., 2], (0.0, 0.0, -1.0))), axis=1)
        q = q + damped_least_squares(here.jacobian(), twist, np.zeros_like(q))
        q = np.clip(q, robot.lower, robot.upper)
    return q


@for_every_robot
def test_the_simulated_tool_is_where_the_chain_says(robot):
    model = alone(robot)
    data = mujoco.MjData(model)
    for q in np.random.default_rng(0).uniform(robot.lower, robot.upper, (50, robot.n_joints)):
        pose(model, data, robot, q, 0.0)
        tool = robot.chain.forward(q)
        assert data.site("tool").xpos == pytest.approx(tool.tool_pos, abs=1e-9)
        assert data.site("tool").xmat == pytest.approx(tool.tool_rot.ravel(), abs=1e-9)


def test_the_ur5e_has_the_makers_kinematics():
    # Denavit-Hartenberg parameters as published; their base frame is turned by half a turn
    table = zip(
        (0.0, -0.425, -0.3922, 0.0, 0.0, 0.0),
        (0.1625, 0.0, 0.0, 0.1333, 0.0997, 0.0996),
        (np.pi / 2, 0.0, 0.0, np.pi / 2, -np.pi / 2, 0.0),
        strict=True,
    )
    robot = get_robot("ur5e")
    q = np.random.default_rng(0).uniform(robot.lower, robot.upper)
    flange = np.diag((-1.0, -1.0, 1.0, 1.0))
    for (a, d, alpha), theta in zip(table, q, strict=True):
        c, s, ca, sa = np.cos(theta), np.sin(theta), np.cos(alpha), np.sin(alpha)
        flange = flange @ [[c, -s * ca, s * sa, a * c], [s, c * ca, -c * sa, a * s], [0, sa, ca, d], [0, 0, 0, 1]]
    tool = robot.chain.forward(q)
    assert tool.tool_rot == pytest.approx(flange[:3, :3], abs=1e-9)
    assert tool.tool_pos == pytest.approx(flange[:3, 3] + 0.163 * flange[:3, 2], abs=1e-9)


def test_the_so101_at_zero_holds_its_forearm_level():
    tool = get_robot("so101").chain.forward(np.zeros(5))
    forward = 0.0388 + 0.0304 + 0.028 + 0.1349 + 0.0611 + 0.0981
    assert tool.tool_pos == pytest.approx((forward, 0.0, PLINTH + 0.0624 + 0.0542 + 0.1126 + 0.0052), abs=5e-4)
    assert tool.tool_rot[:, 2] == pytest.approx((1, 0, 0), abs=1e-9)


@for_every_robot
def test_home_is_over_the_work_area_with_the_gripper_down(robot):
    assert np.all((np.array(robot.lower) < robot.home) & (np.array(robot.home) < robot.upper))
    tool = robot.chain.forward(np.array(robot.home))
    assert tool.tool_rot[:, 2] == pytest.approx((0, 0, -1), abs=1e-3)
    assert tool.tool_pos[:2] == pytest.approx(np.mean(robot.work_area, axis=0), abs=0.01)
    low, high = robot.workspace
    assert np.all((np.array(low) < tool.tool_pos) & (tool.tool_pos < high))


@for_every_robot
def test_home_touches_nothing(robot):
    model = build_model(make_task("lift"), robot, timestep=TIMESTEP)
    data = mujoco.MjData(model)
    cube = data.joint("cube")
    for width in (0.0, robot.gripper_width):
        cube.qpos[:3] = (0.0, 0.5, 0.5)  # out of the way
        pose(model, data, robot, robot.home, width)
        assert data.ncon == 0


@for_every_robot
def test_limits_agree_with_each_other(robot):
    n = robot.n_joints
    vectors = (robot.lower, robot.upper, robot.max_velocity, robot.max_acceleration, robot.home, robot.chain.pos)
    assert {len(vector) for vector in vectors} == {n}
    assert len(robot.chain.quat) == n
    assert np.all(np.array(robot.lower) < robot.upper)
    assert min(*robot.max_velocity, *robot.max_acceleration, robot.gripper_width, robot.gripper_speed) > 0
    assert np.linalg.norm((*robot.chain.quat, robot.chain.tool_quat), axis=1) == pytest.approx(1, abs=1e-12)
    (low, high), (near, far) = robot.workspace, robot.work_area
    assert np.all(np.array(low) < high)
    assert np.all(np.array(near) < far)
    assert np.all((np.array(low[:2]) <= near) & (np.array(far) <= high[:2]))
    assert low[2] <= LOWEST


@for_every_robot
def test_the_whole_work_area_is_within_reach(robot):
    (x0, y0), (x1, y1) = robot.work_area
    axes = np.linspace(x0, x1, 5), np.linspace(y0, y1, 5), np.linspace(LOWEST, robot.workspace[1][2], 5)
    goals = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 3)
    tool = robot.chain.forward(reach_for(robot, goals))
    assert np.linalg.norm(tool.tool_pos - goals, axis=1).max() < 1e-3
    assert tool.tool_rot[:, 2, 2].max() < -1 + 1e-5


@for_every_robot
def test_a_gripper_that_points_down_turns_by_45_degrees_either_way(robot):
    # then the fingers find two sides of a cube wherever and however it lies
    (x0, y0), (x1, y1) = robot.work_area
    corners = np.array([(x, y, 0.02) for x in (x0, x1) for y in (y0, y1)])
    last = reach_for(robot, corners)[:, -1]
    assert np.all((last - np.pi / 4 > robot.lower[-1]) & (last + np.pi / 4 < robot.upper[-1]))


@for_every_robot
def test_a_robot_survives_json(robot):
    assert RobotSpec.from_dict(json.loads(json.dumps(robot.to_dict()))) == robot


@for_every_robot
def test_model_and_spec_name_the_same_joints_in_the_same_order(robot):
    model = alone(robot)
    names = [model.actuator(i).name for i in range(model.nu)]
    assert names == [*robot.joint_names, *robot.gripper_joints]
    assert [model.joint(i).name for i in range(model.njnt)] == names
    ranges = np.array([model.joint(name).range for name in robot.joint_names])
    assert ranges[:, 0] == pytest.approx(robot.lower)
    assert ranges[:, 1] == pytest.approx(robot.upper)


@for_every_robot
def test_the_tool_is_between_the_fingertips_and_the_fingers_move_along_its_y_axis(robot):
    model = alone(robot)
    data = mujoco.MjData(model)
    gap = {}
    for width in (0.0, robot.gripper_width):
        pose(model, data, robot, robot.home, width)
        pads = np.array([data.geom(f"{name}_pad").xpos for name in robot.gripper_joints])
        frame = data.site("tool").xmat.reshape(3, 3)
        tips = (pads - data.site("tool").xpos) @ frame
        assert tips[:, 0] == pytest.approx(0, abs=1e-9)
        assert tips[:, 1].sum() == pytest.approx(0, abs=1e-9)
        assert np.abs(tips[:, 2]).max() < 0.005
        thickness = 2 * model.geom(f"{robot.gripper_joints[0]}_pad").size[1]
        gap[width] = np.ptp(tips[:, 1]) - thickness
    assert list(gap.values()) == pytest.approx(list(gap), abs=1e-9)


@for_every_robot
def test_the_drives_follow_the_fastest_commands(robot):
    """Within 0.03 rad of where the command was `LAG` ago, at the limits of speed and acceleration."""
    model = alone(robot)
    data = mujoco.MjData(model)
    width = robot.gripper_width
    command, velocity = np.append(robot.home, width), np.zeros(robot.n_joints + 1)
    pose(model, data, robot, robot.home, width)
    limiter, rng = MotionLimiter(robot, TIMESTEP), np.random.default_rng(0)
    sent, seen = [], []
    for _ in range(6):
        goal = np.clip(robot.home + rng.uniform(-1.5, 1.5, robot.n_joints), robot.lower, robot.upper)
        for _ in range(160):  # the target moves at once: the limiter alone bounds speed and acceleration
            target = np.append(goal, width)
            command, velocity = limiter.step(command, velocity, target, np.zeros_like(velocity))
            data.ctrl[:] = controls(robot, command[:-1], width)
            mujoco.mj_step(model, data)
            sent.append(command[:-1])
            seen.append(measured(data, robot))
    lag = round(LAG / TIMESTEP)
    assert np.abs(np.diff(sent, axis=0)).max() / TIMESTEP > 0.8 * min(robot.max_velocity)
    assert np.abs(np.array(seen[lag:]) - sent[:-lag]).max() < 0.03


@for_every_robot
def test_the_arm_holds_its_pose_with_a_load(robot):
    """Its own weight and 50 g in the hand move the tool by less than 2 mm."""
    model = alone(robot)
    data = mujoco.MjData(model)
    pose(model, data, robot, robot.home, 0.0)
    before = data.site("tool").xpos.copy()
    data.body(f"{robot.name}_hand").xfrc_applied[2] = -0.05 * 9.81
    data.ctrl[:] = controls(robot, robot.home, 0.0)
    for _ in range(400):
        mujoco.mj_step(model, data)
    assert np.linalg.norm(data.site("tool").xpos - before) < 2e-3
    assert np.abs(data.qvel).max() < 1e-3


@for_every_robot
def test_the_clean_expert_lifts_and_the_arm_keeps_what_it_holds(robot):
    seeds = list(range(20))
    env = MujocoVecEnv("lift", robot.name, num_envs=len(seeds), autoreset=False)
    expert = ScriptedExpert("lift", env.schema, len(seeds))
    expert.reset(seeds)
    observation, _ = env.reset(seed=0)
    done = np.zeros(len(seeds), bool)
    for _ in range(env.max_episode_steps):
        action = expert.act(observation)
        action[done] = 0.0  # stay, closed
        observation, _, terminated, _, _ = env.step(action)
        done |= terminated
    assert done.all()
    assert env.worlds.state.tool_distance("cube").max() < 0.03
    env.close()


def test_an_arm_without_the_reach_is_refused():
    far = replace(make_task("lift"), space=(0.3, 0.4, 0.2))
    with pytest.raises(UserError, match=r"robot 'so101' has not the reach of task 'lift'.*0\.30 x 0\.40 m"):
        build_model(far, get_robot("so101"), timestep=TIMESTEP)


@for_every_robot
def test_each_robot_has_a_config_of_its_name(robot):
    assert compose("collect", [f"robot={robot.name}"]).robot.name == robot.name


def test_a_misspelt_robot_names_the_nearest():
    with pytest.raises(UserError, match="unknown robot 'ur5'; did you mean 'ur5e'"):
        get_robot("ur5")
