import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.transform import Rotation

from robolearn.action_space import (
    ACTION_SPACES,
    LEASH,
    MAX_LINEAR_STEP,
    damped_least_squares,
    make_action_space,
)
from robolearn.errors import UserError
from robolearn.sim.robots import get_robot
from robolearn.sim.robots.panda import PANDA

DT = 0.05
HOME = np.array((*PANDA.home, 0.04))
SPACES = {name: make_action_space(name, robot=PANDA, dt=DT) for name in ACTION_SPACES}


def still(space):
    """The action that asks for no motion and leaves the gripper as it is."""
    action = np.zeros(space.feature.shape)
    action[-1] = HOME[-1]
    return action


joints = st.tuples(*(st.floats(low, high) for low, high in zip(PANDA.lower, PANDA.upper, strict=True)))
commands = st.builds(lambda q, w: np.array((*q, w)), joints, st.floats(0, PANDA.gripper_width))


@pytest.mark.parametrize("name", ACTION_SPACES)
@given(data=st.data(), reference=commands, offset=hnp.arrays(float, 8, elements=st.floats(-0.1, 0.1)))
def test_no_action_exceeds_a_limit(name, data, reference, offset):
    space = SPACES[name]
    wild = st.floats(-1e6, 1e6)
    action = data.draw(hnp.arrays(float, space.feature.shape, elements=wild))
    command = space.command(reference, reference + offset, action)
    q = command[:-1]
    tiny = 1e-9
    assert np.all(np.isfinite(command))
    assert np.all((q >= np.array(PANDA.lower) - tiny) & (q <= np.array(PANDA.upper) + tiny))
    assert np.all(np.abs(q - reference[:-1]) <= np.array(PANDA.max_velocity) * DT + tiny)
    assert 0 <= command[-1] <= PANDA.gripper_width


@pytest.mark.parametrize("name", ACTION_SPACES)
def test_a_command_does_not_run_away_from_a_blocked_arm(name):
    space = SPACES[name]
    command = HOME
    for _ in range(50):
        command = space.command(command, HOME, np.array(space.feature.high))
    assert np.all(np.abs(command[:-1] - HOME[:-1]) <= LEASH + 1e-9)


@pytest.mark.parametrize("name", ACTION_SPACES)
def test_the_channel_has_bounds_names_and_units(name):
    feature = SPACES[name].feature
    assert feature.role == "action"
    assert feature.low is not None
    assert feature.high is not None
    assert np.all(np.array(feature.low) < feature.high)
    assert feature.names[-1] == "gripper_width"
    assert (feature.low[-1], feature.high[-1]) == (0.0, PANDA.gripper_width)


@pytest.mark.parametrize("name", ACTION_SPACES)
def test_batches_are_what_their_parts_are(name):
    space, rng = SPACES[name], np.random.default_rng(0)
    reference = HOME + rng.uniform(-0.1, 0.1, (4, 8))
    action = rng.uniform(space.feature.low, space.feature.high, (4, *space.feature.shape))
    many = space.command(reference, reference, action)
    one = space.command(reference[2], reference[2], action[2])
    assert many[2] == pytest.approx(one)


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("name", ["ee_delta", "ee_delta_6d"])
def test_the_tool_moves_where_the_action_says(name, axis):
    space = SPACES[name]
    action = still(space)
    action[axis] = 0.5 * MAX_LINEAR_STEP
    before = PANDA.chain.forward(HOME[:-1])
    after = PANDA.chain.forward(space.command(HOME, HOME, action)[:-1])
    moved = after.tool_pos - before.tool_pos
    assert moved[axis] == pytest.approx(action[axis], rel=0.15)
    assert np.delete(moved, axis) == pytest.approx((0, 0), abs=1e-3)


def test_yaw_turns_the_gripper_about_the_vertical():
    space = SPACES["ee_delta"]
    action = still(space)
    action[3] = 0.08
    before = PANDA.chain.forward(HOME[:-1]).tool_rot
    after = PANDA.chain.forward(space.command(HOME, HOME, action)[:-1]).tool_rot
    assert Rotation.from_matrix(after @ before.T).as_rotvec() == pytest.approx((0, 0, 0.08), abs=0.01)


def test_a_tilted_gripper_is_brought_back_down():
    space = SPACES["ee_delta"]
    command = HOME.copy()
    command[5] += 0.3
    tilt = [PANDA.chain.forward(command[:-1]).tool_rot[2, 2]]
    for _ in range(20):
        command = space.command(command, command, still(space))
        tilt.append(PANDA.chain.forward(command[:-1]).tool_rot[2, 2])
    assert tilt[0] > -0.96
    assert tilt[-1] == pytest.approx(-1, abs=1e-3)


def test_the_tool_stays_in_the_workspace():
    space = SPACES["ee_delta"]
    down = still(space)
    down[2] = -MAX_LINEAR_STEP
    command = HOME
    for _ in range(60):
        command = space.command(command, command, down)
    assert PANDA.chain.forward(command[:-1]).tool_pos[2] == pytest.approx(PANDA.workspace[0][2], abs=2e-3)


def test_joint_delta_adds_to_the_reference():
    delta = np.full(7, 0.05)
    command = SPACES["joint_delta"].command(HOME, HOME, np.array((*delta, 0.01)))
    assert command == pytest.approx((*(HOME[:-1] + delta), 0.01))


def test_damped_least_squares_solves_exactly_far_from_singularities_and_is_bounded_near_them():
    jacobian = PANDA.chain.forward(HOME[:-1]).jacobian()
    twist = np.array((0.01, 0, -0.01, 0, 0, 0.02))
    step = damped_least_squares(jacobian, twist, np.zeros(7))
    assert jacobian @ step == pytest.approx(twist, abs=2e-3)
    stretched = PANDA.chain.forward(np.array((0, 0, 0, -0.0698, 0, 0, 0))).jacobian()
    assert np.linalg.norm(damped_least_squares(stretched, twist, np.zeros(7))) < 10 * np.linalg.norm(twist)


def test_an_unknown_action_space_names_the_nearest():
    with pytest.raises(UserError, match="did you mean 'ee_delta'"):
        make_action_space("ee_dleta", robot=PANDA, dt=DT)


@pytest.mark.parametrize("name", ["ur5e", "so101"])
def test_an_arm_without_null_space_stays_where_it_is_told_to(name):
    robot = get_robot(name)
    space = make_action_space("ee_delta", robot=robot, dt=0.05)
    here = np.array((*robot.home, robot.gripper_width))
    away = here.copy()
    away[:-1] += 0.1 * np.sin(np.arange(robot.n_joints))  # no longer at home
    away = settle(space, away)
    before = robot.chain.forward(away[:-1]).tool_pos
    after = robot.chain.forward(space.command(away, away, np.array((0, 0, 0, 0, here[-1])))[:-1]).tool_pos
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-6)


def settle(space, command):
    """Repeat a zero action until the gripper points down."""
    for _ in range(200):
        command = space.command(command, command, np.array((0, 0, 0, 0, command[-1])))
    return command
