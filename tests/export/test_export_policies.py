"""Every policy and backbone on ONNX Runtime, without torch on the reader's side."""

import json
import subprocess
import sys
from functools import cache

import numpy as np
import pytest
import torch

from robolearn.acting import Acting
from robolearn.action_space import make_action_space
from robolearn.commands.export import graphs_of
from robolearn.errors import UserError
from robolearn.export.bundle import check_parity, export_bundle
from robolearn.policies.diffusion.modeling_diffusion import build as build_diffusion
from robolearn.policies.flow.modeling_flow import build as build_flow
from robolearn.policies.serving import TorchPolicy
from robolearn.policies.vla.modeling_vla import build as build_vla
from robolearn.proprioception import state_feature
from robolearn.real.bundle import load_bundle
from robolearn.real.onnx_policy import OnnxPolicy
from robolearn.schema import Feature, Schema
from robolearn.sim.robots import get_robot

ROBOT = get_robot("panda")
CAMERA = "observation.images.wrist"
SIZE = (36, 40, 3)
STATE = state_feature(ROBOT)
FEATURES = {
    "observation.state": STATE,
    CAMERA: Feature("image", SIZE, ("height", "width", "channels"), ("1",) * 3, "observation"),
    "action": make_action_space("ee_delta", robot=ROBOT, dt=0.05).feature,
}
STATISTICS = {"observation.state": {"mean": np.zeros(STATE.shape), "std": np.ones(STATE.shape)}}
SIZES = {
    "horizon": 8,
    "n_action_steps": 3,
    "n_obs_steps": 2,
    "hidden_dim": 16,
    "num_blocks": 2,
    "condition_dim": 8,
    "num_heads": 2,
    "down_dims": (8, 16),
    "n_groups": 4,
    "diffusion_step_embed_dim": 8,
    "vision_dim": 6,
    "num_inference_steps": 4,
}
MIXTURE = {"backbone": "dit", "horizons": (2, 4, 8), "dynamic_horizon": True, "consensus_steps": 2}
WORDS = {"language_dim": 8, "language_blocks": 1, "language_heads": 2, "state_dim": 8, "buckets": 64}
SAID = ("lift the cube", "put it into the left bin.", "", "drop it", "what you like")
CASES = {
    "flow-mlp": (build_flow, {}, False),
    "flow-mlp-cnn": (build_flow, {"sampler": "heun"}, True),
    "flow-unet": (build_flow, {"backbone": "unet"}, False),
    "flow-dit-vit": (build_flow, {"backbone": "dit", "vision": "vit"}, True),
    "flow-shortcut-mlp": (build_flow, {"variant": "shortcut"}, False),
    "flow-shortcut-unet": (build_flow, {"variant": "shortcut", "backbone": "unet"}, False),
    "flow-shortcut-dit": (build_flow, {"variant": "shortcut", "backbone": "dit", "num_inference_steps": 1}, False),
    "flow-mixture": (build_flow, MIXTURE, False),
    "vla-mlp-cnn": (build_vla, WORDS, True),
    "vla-dit": (build_vla, {**WORDS, "backbone": "dit"}, False),
    "diffusion-mlp": (build_diffusion, {"backbone": "mlp"}, False),
    "diffusion-unet-cnn": (build_diffusion, {}, True),
    "diffusion-dit": (build_diffusion, {"backbone": "dit", "prediction_type": "sample"}, False),
    "diffusion-mixture-cnn": (build_diffusion, MIXTURE, True),
}


def make(case, **settings):
    torch.manual_seed(0)
    build, own, camera = CASES[case]
    schema = Schema({key: f for key, f in FEATURES.items() if camera or key != CAMERA}, 20)
    model = build(schema, **(SIZES | own | settings))
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.15)
    return TorchPolicy(model, schema, STATISTICS)


def export(path, policy, acting=None, *, rtc=False):
    """Write the bundle of a policy, or of who acts on top of it."""
    return export_bundle(
        path,
        schema=policy.schema,
        robot=ROBOT,
        action_space="ee_delta",
        statistics=policy.statistics,
        task={"name": "lift", "instruction": "lift", "max_episode_steps": 80, "stage_names": ["reach"]},
        **graphs_of(policy, Acting(policy) if acting is None else acting, rtc=rtc),
        config_yaml="",
        provenance={},
    )


def frames(policy, n):
    rng = np.random.default_rng(1)
    seen = {"observation.state": rng.normal(size=(n, 2, *STATE.shape)).astype(np.float32)}
    if policy.reads_task:
        seen["task"] = np.array([SAID[k % len(SAID)] for k in range(n)])
    if CAMERA in policy.schema:
        seen[CAMERA] = rng.integers(0, 256, (n, 2, *SIZE), np.uint8)
    return seen


# the others take seconds each
QUICK = ("flow-shortcut-dit", "diffusion-unet-cnn", "vla-mlp-cnn")
EVERY = [pytest.param(case, marks=() if case in QUICK else pytest.mark.slow) for case in CASES]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A function from a case to its policy and the folder of its bundle."""

    @cache
    def get(case):
        policy = make(case)
        return policy, export(tmp_path_factory.mktemp(case) / "bundle", policy)

    return get


@pytest.mark.parametrize("case", EVERY)
def test_the_bundle_acts_as_the_policy(case, exported):
    policy, path = exported(case)
    bundle = load_bundle(path)
    assert isinstance(bundle.policy, OnnxPolicy)
    for batch in (1, 5):
        assert check_parity(policy, bundle.policy, frames(policy, batch), atol=2e-5) < 2e-5
    noise = np.random.default_rng(2).normal(size=(6, *policy.noise_shape)).astype(np.float32)
    ours, theirs = (p.predict_chunk(frames(policy, 3), noise, n_samples=2) for p in (bundle.policy, policy))
    half = np.array(policy.schema.action.high)
    np.testing.assert_allclose(ours.values / half, theirs.values / half, atol=2e-5)
    assert np.abs(ours.values / half).std() > 0.1  # not all at the bounds or in the middle
    np.testing.assert_array_equal(ours.n_valid, theirs.n_valid)
    assert (ours.n_valid is None) == ("mixture" not in case)


def test_exporting_leaves_the_policy_in_its_mode(exported):
    policy, _ = exported("diffusion-unet-cnn")
    assert not any(module.training for module in policy.policy.modules())


def test_a_bundle_that_reads_an_instruction_says_so_and_tokenises_itself(exported):
    policy, path = exported("vla-mlp-cnn")
    bundle = load_bundle(path)
    language = json.loads((path / "manifest.json").read_text())["policy"]["language"]
    assert language == {"max_words": 24, "max_pieces": 12, "buckets": 64, "ngram": 3}
    assert bundle.policy.reads_task
    assert bundle.instruction == "lift"
    seen, noise = frames(policy, 2), np.zeros((2, *policy.noise_shape), np.float32)
    one, same, other = (
        bundle.policy.predict_chunk(seen | {"task": np.array([said] * 2)}, noise).values
        for said in ("lift the cube", "Lift the CUBE!", "put it into the left bin")
    )
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1e-4
    del seen["task"]
    with pytest.raises(UserError, match="reads an instruction"):
        bundle.policy.predict_chunk(seen, noise)


def test_pictures_that_arrive_as_floats_are_understood(exported):
    policy, path = exported("diffusion-unet-cnn")
    bundle = load_bundle(path)
    noise, seen = np.zeros((2, *policy.noise_shape), np.float32), frames(policy, 2)
    expected = bundle.policy.predict_chunk(seen, noise).values
    # as the inference process unpacks them
    got = bundle.policy.predict_chunk(seen | {CAMERA: seen[CAMERA].astype(np.float32)}, noise).values
    np.testing.assert_array_equal(got, expected)


def test_a_bundle_runs_without_torch_and_diffusers(exported):
    _, path = exported("diffusion-unet-cnn")
    code = f"""
import sys
from pathlib import Path
import numpy as np
from robolearn.real.bundle import load_bundle
policy = load_bundle(Path({str(path)!r})).policy
shapes = {{key: policy.schema[key] for key in policy.schema.observation_keys}}
seen = {{key: np.zeros((1, 2, *f.shape), np.uint8 if f.dtype == "image" else np.float32) for key, f in shapes.items()}}
print(policy.predict_chunk(seen).values.shape)
print([name for name in ("torch", "diffusers", "lerobot") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["(1, 8, 5)", "[]"]
