"""The graph for real-time chunking against LeRobot's `RTCProcessor` on the same policy.

LeRobot's time runs from noise at 1 to data at 0, its velocity is noise - data, its `execution_horizon` is where the old
chunk ends, not what is executed, and its Jacobian is the identity, for it asks the model before x requires a gradient.
"""

import json
from functools import cache

import numpy as np
import pytest
import torch
from lerobot.configs import RTCAttentionSchedule
from lerobot.policies.rtc.configuration_rtc import RTCConfig
from test_export_policies import CASES, export, frames, make

from robolearn.acting import Acting
from robolearn.commands.export import graphs_of
from robolearn.errors import UserError
from robolearn.export import guided
from robolearn.inpainting import soft_mask
from robolearn.policies.guidance import Previous
from robolearn.real.bundle import load_bundle

LARGEST, FROZEN, OVERLAP = 3.0, 2, 6
QUICK = ("flow-mlp", "diffusion-mlp")
EVERY = [pytest.param(case, marks=() if case in QUICK else pytest.mark.slow) for case in CASES]
FLOWS = [
    pytest.param(case, marks=() if case == "flow-mlp" else pytest.mark.slow) for case in CASES if "diff" not in case
]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    @cache
    def get(case, rtc):
        schedule = RTCConfig(prefix_attention_schedule=RTCAttentionSchedule.EXP, max_guidance_weight=LARGEST)
        policy = make(case, rtc_config=schedule)
        return policy, load_bundle(export(tmp_path_factory.mktemp(case) / "bundle", policy, rtc=rtc))

    return get


def pair(policy, bundle, n=2):
    """A guided chunk by LeRobot and by the bundle, in shares of the action's half range."""
    low, high = np.array(policy.schema.action.low, np.float32), np.array(policy.schema.action.high, np.float32)
    half = (high - low) / 2
    rng = np.random.default_rng(3)
    rest = (low + half + half * rng.uniform(-0.9, 0.9, (n, OVERLAP, len(half)))).astype(np.float32)
    noise = rng.standard_normal((n, *policy.noise_shape)).astype(np.float32)
    with torch.no_grad():
        theirs = policy.policy.predict_action_chunk(
            policy.prepare(frames(policy, n)),
            torch.from_numpy(noise),
            inference_delay=FROZEN,
            prev_chunk_left_over=torch.from_numpy(policy.normalizer["action"](rest)),
            execution_horizon=OVERLAP,
        )
    ours = bundle.policy.predict_guided(frames(policy, n), noise, left_over=rest, frozen=FROZEN, largest=LARGEST).values
    np.testing.assert_array_equal(ours[:, :FROZEN], rest[:, :FROZEN])
    return policy.physical(theirs).clip(low, high) / half, ours / half


@pytest.mark.parametrize("case", EVERY)
def test_without_the_graph_the_guidance_is_lerobots(case, exported):
    policy, bundle = exported(case, False)
    assert not (bundle.path / "guided.onnx").exists()
    theirs, ours = pair(policy, bundle)
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert np.abs(ours).std() > 0.1


@pytest.mark.parametrize("case", FLOWS)
def test_with_the_graph_it_is_lerobots_with_the_exact_jacobian(case, exported, monkeypatch):
    policy, bundle = exported(case, True)
    approximate = pair(policy, bundle)[0]
    guide = Previous.guide

    def exact(self, x, time, velocity):
        def tracked(x):
            return velocity(x.requires_grad_(True))

        return guide(self, x, time, tracked)

    monkeypatch.setattr(Previous, "guide", exact)
    theirs, ours = pair(policy, bundle)
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert np.abs(theirs - approximate).max() > 1e-3


@pytest.mark.parametrize("case", ["flow-mlp", "diffusion-mlp"])
def test_what_a_bundle_says_of_its_graphs(case, exported):
    _, bundle = exported(case, True)
    flow = case == "flow-mlp"
    assert bundle.manifest["format"] == 3
    assert bundle.manifest["policy"]["guided"] is flow
    assert ("guided.onnx" in bundle.manifest["files"]) is flow


def test_bundles_from_before_still_load(exported):
    policy, bundle = exported("flow-mlp", False)
    path = bundle.path / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["policy"]["guided"]
    path.write_text(json.dumps(manifest))
    theirs, ours = pair(policy, load_bundle(bundle.path))
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_a_bundle_without_the_graph_that_it_names_is_refused(exported, tmp_path):
    _, bundle = exported("flow-mlp", True)
    manifest = json.loads((bundle.path / "manifest.json").read_text())
    del manifest["files"]["guided.onnx"]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=r"does not list 'guided\.onnx'"):
        load_bundle(tmp_path)


def test_exporting_leaves_the_weights_trainable(exported):
    policy, _ = exported("flow-mlp", True)
    assert all(parameter.requires_grad for parameter in policy.policy.parameters())


def test_a_graph_that_differs_from_the_policy_is_found_out(exported):
    policy, bundle = exported("flow-mlp", True)
    other = make("flow-mlp")
    for parameter in other.policy.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    sample = torch.zeros(1, 8, 5)
    observed = torch.zeros(1, *policy.policy.observe(policy.prepare(frames(policy, 1))).shape[1:])
    inputs = {"observed": observed, "sample": sample, "time": torch.zeros(1), "target": sample}
    inputs["mask"] = torch.zeros(1, 8)
    path = bundle.path / "guided.onnx"
    with torch.no_grad():
        guided.require_same(path, guided.GuidedGraph(policy.graphs()[1], mixed=False), inputs)
        with pytest.raises(UserError, match="differs from the policy"):
            guided.require_same(path, guided.GuidedGraph(other.graphs()[1], mixed=False), inputs)


def test_the_mask_is_lerobots():
    policy = make("flow-mlp", rtc_config=RTCConfig(prefix_attention_schedule=RTCAttentionSchedule.EXP))
    for frozen, overlap in ((0, 6), (2, 6), (6, 6), (0, 0), (3, 8)):
        theirs = policy.policy.rtc_processor.get_prefix_weights(frozen, overlap, 8)
        np.testing.assert_allclose(soft_mask(frozen=frozen, overlap=overlap, horizon=8), theirs, atol=1e-6)


def test_only_flows_have_the_graph():
    for case, guided_too in (("flow-mlp", True), ("diffusion-mlp", False)):
        policy = make(case)
        assert graphs_of(policy, Acting(policy))["policy"]["guided"] is guided_too
        assert graphs_of(policy, Acting(policy), rtc=False)["policy"]["guided"] is False
