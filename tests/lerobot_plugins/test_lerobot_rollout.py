"""A policy of ours on a simulated arm in `lerobot-rollout`."""

import threading
from types import SimpleNamespace

import lerobot_runs
import numpy as np
import pytest
import torch

from robolearn.errors import UserError
from robolearn.lerobot_plugins.arm import SimulatedArm
from robolearn.lerobot_plugins.config_arm import SimulatedArmConfig
from robolearn.policies.serving import load_policy
from robolearn.sim.backends.mujoco import MujocoVecEnv

SEED = 3


@pytest.fixture
def arm(tmp_path):
    made = SimulatedArm(SimulatedArmConfig(seed=SEED, calibration_dir=tmp_path, cameras=["wrist"], image_size=32))
    made.connect()
    yield made
    if made.is_connected:
        made.disconnect()


def test_every_component_is_a_scalar_that_lerobot_keeps(arm):
    observation = arm.get_observation()
    assert observation.keys() == arm.observation_features.keys()
    wrist = observation.pop("wrist")
    assert wrist.shape == arm.observation_features["wrist"] == (32, 32, 3)
    assert wrist.dtype == np.uint8
    plain = MujocoVecEnv("lift", autoreset=False)
    expected, _ = plain.reset(seed=SEED)
    plain.close()
    channels = [expected["observation.state"][0], expected["observation.environment_state"][0]]
    np.testing.assert_array_equal(list(observation.values()), np.concatenate(channels))
    assert list(arm.action_features) == ["dx.pos", "dy.pos", "dz.pos", "yaw.pos", "gripper_width.pos"]
    assert all(name.endswith(".pos") for name in (*observation, *arm.action_features))


def test_an_arm_may_not_know_where_the_objects_are(tmp_path):
    arm = SimulatedArm(SimulatedArmConfig(calibration_dir=tmp_path, objects=False))
    assert len(arm.observation_features) == 17


def test_an_action_moves_the_arm_one_control_step(arm):
    before = arm.get_observation()["tool_z.pos"]
    arm.send_action(dict.fromkeys(arm.action_features, 0.0) | {"dz.pos": -0.02})
    assert before - 0.02 <= arm.get_observation()["tool_z.pos"] < before - 0.001


def test_a_drive_to_joint_positions_is_refused(arm):
    pose = {name: value for name, value in arm.get_observation().items() if name != "wrist"}
    with pytest.raises(UserError, match=r"lacks 'dx.pos'.*--return_to_initial_position=false"):
        arm.send_action(pose)
    arm.disconnect()
    with pytest.raises(UserError, match="not connected"):
        arm.get_observation()


def rollout(monkeypatch, tmp_path, policy, *words):
    """Run LeRobot's command; returns the actions that the arm got."""
    from lerobot.scripts import lerobot_rollout

    sent, send = [], SimulatedArm.send_action

    def spy(self, action):
        sent.append(list(action.values()))
        return send(self, action)

    monkeypatch.setattr(SimulatedArm, "send_action", spy)
    handler = SimpleNamespace(shutdown_event=threading.Event())
    monkeypatch.setattr(lerobot_rollout, "ProcessSignalHandler", lambda **_: handler)  # pytest keeps its signals
    command = [
        "--robot.discover_packages_path=robolearn.lerobot_plugins",
        "--robot.type=robolearn_arm",
        f"--robot.seed={SEED}",
        f"--robot.calibration_dir={tmp_path}",
        f"--policy.path={policy}",
        "--fps=20",
        "--device=cpu",
        "--task=lift it",
        "--return_to_initial_position=false",
        *words,
    ]
    monkeypatch.setattr("sys.argv", ["lerobot-rollout", *command])
    lerobot_rollout.main()
    return np.array(sent, np.float32)


@pytest.mark.alone
def test_lerobot_rollout_runs_our_policy(monkeypatch, tmp_path):
    folder = lerobot_runs.write_own_policy(tmp_path / "policy")
    monkeypatch.setattr(torch, "randn", lambda *size, **_: torch.zeros(*size))  # the policy's noise
    sent = rollout(monkeypatch, tmp_path, folder, "--duration=2")
    policy = load_policy(folder)
    plain = MujocoVecEnv("lift", autoreset=False)
    first, _ = plain.reset(seed=SEED)
    plain.close()
    history = {key: np.repeat(values[:, None], 2, axis=1) for key, values in first.items()}
    chunk = policy.predict_chunk(history, np.zeros((1, 8, 5), np.float32)).values[0]
    assert len(sent) >= 4  # of 40: a busy machine is late
    low, high = policy.schema.action.low, policy.schema.action.high
    np.testing.assert_allclose(sent[:4].clip(low, high), chunk[:4], rtol=0, atol=1e-6)


@pytest.mark.alone
def test_lerobot_rollout_runs_our_policy_by_real_time_chunking(monkeypatch, tmp_path):
    folder = lerobot_runs.write_own_policy(tmp_path / "policy", n_obs_steps=1)
    words = ("--inference.type=rtc", "--inference.rtc.execution_horizon=4", "--duration=4")
    sent = rollout(monkeypatch, tmp_path, folder, *words)
    assert len(sent) > 20  # of 80; the first chunk takes its time
    assert np.isfinite(sent).all()
