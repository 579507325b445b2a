import json

import mujoco
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from robolearn.robot import RobotSpec
from robolearn.sim.robots.panda import PANDA

configurations = st.tuples(*(st.floats(low, high) for low, high in zip(PANDA.lower, PANDA.upper, strict=True)))


@pytest.fixture(scope="module")
def physics():
    """The chain as a MuJoCo model: one nested body and hinge for each joint."""
    spec = mujoco.MjSpec()
    body = spec.worldbody
    for pos, quat in zip(PANDA.chain.pos, PANDA.chain.quat, strict=True):
        body = body.add_body(pos=pos, quat=quat)
        body.add_joint(axis=(0, 0, 1))
        body.add_geom(size=(0.01, 0, 0))
    body.add_site(name="tool", pos=PANDA.chain.tool_pos, quat=PANDA.chain.tool_quat)
    model = spec.compile()
    return model, mujoco.MjData(model)


@given(q=configurations)
def test_forward_kinematics_agrees_with_mujoco(physics, q):
    model, data = physics
    data.qpos[:] = q
    mujoco.mj_kinematics(model, data)
    mujoco.mj_comPos(model, data)
    here = PANDA.chain.forward(np.array(q))
    assert here.tool_pos == pytest.approx(data.site("tool").xpos, abs=1e-9)
    assert here.tool_rot.ravel() == pytest.approx(data.site("tool").xmat, abs=1e-9)
    assert here.anchors == pytest.approx(data.xanchor, abs=1e-9)
    assert here.axes == pytest.approx(data.xaxis, abs=1e-9)
    jacobian = np.zeros((6, model.nv))
    mujoco.mj_jacSite(model, data, jacobian[:3], jacobian[3:], data.site("tool").id)
    assert here.jacobian() == pytest.approx(jacobian, abs=1e-9)


@given(q=configurations)
def test_jacobian_agrees_with_finite_differences(q):
    q, step = np.array(q), 1e-6
    here = PANDA.chain.forward(q)
    moved = PANDA.chain.forward(q + step * np.eye(7))
    linear = (moved.tool_pos - here.tool_pos).T / step
    angular = Rotation.from_matrix(moved.tool_rot @ here.tool_rot.T).as_rotvec().T / step
    assert here.jacobian() == pytest.approx(np.concatenate((linear, angular)), abs=1e-4)


def test_batched_kinematics_are_what_their_parts_are():
    q = np.random.default_rng(0).uniform(PANDA.lower, PANDA.upper, size=(4, 3, 7))
    many = PANDA.chain.forward(q)
    one = PANDA.chain.forward(q[2, 1])
    assert many.jacobian().shape == (4, 3, 6, 7)
    assert many.tool_pos[2, 1] == pytest.approx(one.tool_pos)
    assert many.jacobian()[2, 1] == pytest.approx(one.jacobian())


def test_a_robot_survives_json():
    assert RobotSpec.from_dict(json.loads(json.dumps(PANDA.to_dict()))) == PANDA


def test_panda_rests_within_its_limits_with_the_gripper_down():
    assert np.all((np.array(PANDA.lower) < PANDA.home) & (np.array(PANDA.home) < PANDA.upper))
    tool = PANDA.chain.forward(np.array(PANDA.home))
    assert tool.tool_rot[:, 2] == pytest.approx((0, 0, -1), abs=1e-3)
    low, high = PANDA.workspace
    assert np.all((np.array(low) < tool.tool_pos) & (tool.tool_pos < high))


def test_panda_flange_stands_where_the_maker_says():
    # all joints at zero: 0.333 + 0.316 + 0.384 m up to the wrist, 0.088 m forward, then down to the tool
    tool = PANDA.chain.forward(np.zeros(7))
    assert tool.tool_pos == pytest.approx((0.088, 0, 0.333 + 0.316 + 0.384 - 0.107 - 0.1034), abs=1e-9)
