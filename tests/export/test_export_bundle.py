import json

import numpy as np
import pytest
import torch

from robolearn.action_space import make_action_space
from robolearn.errors import UserError
from robolearn.export.bundle import check_correction_parity, check_parity, export_bundle
from robolearn.normalize import Normalizer
from robolearn.proprioception import poses_feature, state_feature
from robolearn.real.bundle import load_bundle
from robolearn.sampling import euler
from robolearn.schema import ActionChunk, Schema
from robolearn.sim.robots import get_robot

ROBOT = get_robot("panda")
SCHEMA = Schema(
    {
        "observation.state": state_feature(ROBOT),
        "observation.environment_state": poses_feature(("cube",)),
        "action": make_action_space("ee_delta", robot=ROBOT, dt=0.05).feature,
    },
    20,
)
HORIZON, STEPS, N_OBS = 3, 4, 2
OBS_DIM = sum(SCHEMA[key].shape[0] for key in SCHEMA.observation_keys)
RNG = np.random.default_rng(0)
STATISTICS = {
    key: {"mean": RNG.normal(size=SCHEMA[key].shape), "std": RNG.uniform(0.1, 2, SCHEMA[key].shape)}
    for key in SCHEMA.observation_keys
}
TASK = {"name": "lift", "instruction": "lift", "max_episode_steps": 80, "stage_names": ["reach"]}
POLICY = {
    "kind": "flow",
    "horizon": HORIZON,
    "n_action_steps": 2,
    "n_obs_steps": N_OBS,
    "noise_shape": [HORIZON, 5],
    "sampler": {"name": "euler", "steps": STEPS},
}


class Encoder(torch.nn.Module):
    def forward(self, state, environment):
        return torch.cat((state.flatten(1), environment.flatten(1)), dim=1)


class Velocity(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(N_OBS * OBS_DIM + HORIZON * 5 + 1, HORIZON * 5)
        self.drop = torch.nn.Dropout(0.5)

    def forward(self, observed, sample, time):
        parts = (observed, sample.flatten(1), time[:, None])
        return self.drop(self.net(torch.cat(parts, dim=1))).unflatten(1, (HORIZON, 5))


class Correction(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(OBS_DIM + 5, 5)

    def forward(self, *inputs):
        return (inputs[-1] + 0.2 * torch.tanh(self.net(torch.cat(inputs, dim=1)))).clamp(-1, 1)


class TorchPolicy:
    """The same computation in torch, written independently of the bundle's reader."""

    schema, n_obs_steps, horizon, n_action_steps, noise_shape = SCHEMA, N_OBS, HORIZON, 2, (HORIZON, 5)
    reads_task = False

    def __init__(self, velocity):
        self.velocity, self.normalizer = velocity.eval(), Normalizer(SCHEMA, STATISTICS)

    @torch.no_grad()
    def predict_chunk(self, observation, noise=None, n_samples=1):
        inputs = [torch.from_numpy(x) for x in self.normalizer.observation(observation).values()]

        def velocity(x, time):
            return self.velocity(Encoder()(*inputs), x, torch.full((len(x),), time))

        sample = euler(velocity, torch.from_numpy(noise), steps=STEPS).clamp(-1, 1).numpy()
        return ActionChunk(self.normalizer["action"].inverse(sample), 0.0, 0.05)


def export(path, **changes):
    torch.manual_seed(0)
    given = {
        "schema": SCHEMA,
        "robot": ROBOT,
        "action_space": "ee_delta",
        "statistics": STATISTICS,
        "task": TASK,
        "policy": POLICY,
        "encoder": Encoder(),
        "denoiser": Velocity(),
        "on_top": ("correction", Correction(), {}),
        "config_yaml": "seed: 1\n",
        "provenance": {"commit": "abc", "success": np.float32(0.5)},
    } | changes
    return export_bundle(path, **given), given


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    path, given = export(tmp_path_factory.mktemp("export") / "bundle")
    return load_bundle(path), given


def frames(n, *lead):
    rng = np.random.default_rng(1)
    return {key: rng.normal(size=(n, *lead, *SCHEMA[key].shape)).astype(np.float32) for key in SCHEMA.observation_keys}


@pytest.mark.parametrize("batch", [1, 5])
def test_the_bundle_acts_as_the_torch_policy(exported, batch):
    bundle, given = exported
    assert check_parity(TorchPolicy(given["denoiser"]), bundle.policy, frames(batch, N_OBS), atol=1e-4) < 1e-4


def test_a_different_policy_is_found_out(exported):
    bundle, _ = exported
    with pytest.raises(UserError, match="chunks differ"):
        check_parity(TorchPolicy(Velocity()), bundle.policy, frames(4, N_OBS), atol=1e-4)


def test_the_correction_acts_as_that_in_torch(exported):
    bundle, given = exported
    normalizer = Normalizer(SCHEMA, STATISTICS)

    def correction(observation, base_action):
        base = np.clip(normalizer["action"](base_action), -1, 1)
        inputs = [torch.from_numpy(x) for x in (*normalizer.observation(observation).values(), base)]
        with torch.no_grad():
            return normalizer["action"].inverse(given["on_top"][1](*inputs).numpy())

    base = np.random.default_rng(2).uniform(-0.01, 0.01, (6, 5)).astype(np.float32)
    assert check_correction_parity(correction, bundle.correction, SCHEMA, frames(6), base) < 1e-4
    with pytest.raises(UserError, match="corrections differ"):
        check_correction_parity(lambda o, a: a, bundle.correction, SCHEMA, frames(6), base)


def test_dropout_is_off_in_the_graph_and_the_module_is_left_as_it_was(exported):
    bundle, given = exported
    noise = np.zeros((1, HORIZON, 5), np.float32)
    first, second = (bundle.policy.predict_chunk(frames(1, N_OBS), noise).values for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert isinstance(given["on_top"][1], Correction)


def test_the_manifest_holds_everything(exported):
    bundle, _ = exported
    manifest = bundle.manifest
    assert manifest["task"] == TASK
    assert manifest["policy"] == POLICY
    assert manifest["on_top"] == {"kind": "correction"}
    assert manifest["provenance"] == {"commit": "abc", "success": 0.5}
    assert (bundle.path / "config.yaml").read_text() == "seed: 1\n"
    assert set(manifest["files"]) == {file.name for file in bundle.path.iterdir()} - {"manifest.json"}
    assert json.loads((bundle.path / "robot.json").read_text())["name"] == "panda"


def test_a_failed_export_leaves_the_old_bundle_and_no_rubbish(tmp_path):
    path, _ = export(tmp_path / "bundle", on_top=None)
    before = (path / "manifest.json").read_text()

    class Broken(torch.nn.Module):
        def forward(self, observed, sample, time):
            raise RuntimeError("broken")

    with pytest.raises(Exception, match="broken"):
        export(path, denoiser=Broken(), on_top=None)
    assert (path / "manifest.json").read_text() == before
    assert [child.name for child in tmp_path.iterdir()] == ["bundle"]
    assert load_bundle(path).correction is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": {"name": "lift"}}, "instruction"),
        ({"policy": {"kind": "flow"}}, "horizon"),
        ({"statistics": {}}, "observation.state"),
    ],
)
def test_incomplete_input_is_refused(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        export(tmp_path / "bundle", **changes)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_no_bundle_is_not_replaced(tmp_path):
    (tmp_path / "precious").mkdir()
    with pytest.raises(UserError, match="no bundle"):
        export(tmp_path / "precious")
