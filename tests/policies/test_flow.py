"""The flow policy: loss, sampling, LeRobot's and our own faces, checkpoints, the exported graph."""

import json

import numpy as np
import pytest
import torch

from robolearn.errors import UserError
from robolearn.policies.flow.configuration_flow import FlowConfig
from robolearn.policies.flow.graph import VelocityGraph
from robolearn.policies.flow.modeling_flow import FlowPolicy
from robolearn.policies.serving import TorchPolicy, load_policy, save_policy
from robolearn.protocols import Policy
from robolearn.sampling import euler
from robolearn.schema import Feature, Schema


def make_schema(action_dim: int = 2) -> Schema:
    def vector(n, role, **bounds):
        return Feature("float32", (n,), tuple(f"x{i}" for i in range(n)), ("m",) * n, role, **bounds)

    return Schema(
        {
            "observation.state": vector(3, "observation"),
            "observation.environment_state": vector(2, "observation"),
            "observation.stage": vector(1, "annotation"),
            "action": vector(action_dim, "action", low=(-0.5,) * action_dim, high=(1.5,) * action_dim),
        },
        fps=20,
    )


STATISTICS = {
    "observation.state": {"mean": [1.0, 2.0, 3.0], "std": [2.0, 2.0, 2.0]},
    "observation.environment_state": {"mean": [0.0, 0.0], "std": [1.0, 0.0]},
}


def make_policy(**settings) -> FlowPolicy:
    torch.manual_seed(0)
    settings = {"horizon": 4, "n_action_steps": 3, "hidden_dim": 16, "condition_dim": 8, "num_blocks": 2} | settings
    policy = FlowPolicy(FlowConfig.from_schema(make_schema(), **settings))
    torch.nn.init.normal_(policy.network.chunk_out.weight, std=0.3)  # as if trained
    torch.nn.init.normal_(policy.network.blocks[0].gate.weight, std=0.3)
    return policy


def make_batch(n: int = 5, n_obs_steps: int = 2) -> dict:
    torch.manual_seed(1)
    return {
        "observation.state": torch.randn(n, n_obs_steps, 3),
        "observation.environment_state": torch.randn(n, n_obs_steps, 2),
        "action": torch.rand(n, 4, 2) * 2 - 1,
        "action_is_pad": torch.arange(4).expand(n, 4) >= torch.arange(n)[:, None] + 1,
    }


def test_loss_is_the_equation_over_unpadded_actions():
    policy, batch = make_policy(), make_batch()
    noise, time = torch.randn(5, 4, 2), torch.rand(5)
    x_t = (1 - time)[:, None, None] * noise + time[:, None, None] * batch["action"]
    velocity = VelocityGraph(policy)(batch["observation.state"], batch["observation.environment_state"], x_t, time)
    square = (velocity - (batch["action"] - noise)) ** 2
    expected = square[~batch["action_is_pad"]].mean()
    loss, figures = policy.forward(batch, noise=noise, time=time)
    torch.testing.assert_close(loss, expected)
    assert figures["loss"] == pytest.approx(expected.item())
    per_sample, _ = policy.forward(batch, reduction="none", noise=noise, time=time)
    assert per_sample.shape == (5,)
    torch.testing.assert_close(per_sample.mean(), expected)


def test_untrained_velocity_is_zero():
    policy = FlowPolicy(FlowConfig.from_schema(make_schema(), horizon=4, n_action_steps=1))
    noise = torch.randn(5, 4, 2)
    torch.testing.assert_close(policy.predict_action_chunk(make_batch(), noise=noise), noise)


def test_samples_of_one_observation_stand_together():
    policy, batch = make_policy(), make_batch()
    noise = torch.randn(15, 4, 2)
    chunks = policy.predict_action_chunk(batch, noise=noise, num_samples=3)
    assert chunks.shape == (5, 3, 4, 2)
    for i in range(5):
        one = {key: value[i : i + 1] for key, value in batch.items()}
        for j in range(3):
            alone = policy.predict_action_chunk(one, noise=noise[3 * i + j][None])
            torch.testing.assert_close(chunks[i, j], alone[0])
    with pytest.raises(ValueError, match="noise has shape"):
        policy.predict_action_chunk(batch, noise=noise)


@pytest.mark.parametrize("distribution", ["beta", "logit_normal"])
def test_time_distribution(distribution):
    policy = make_policy(time_distribution=distribution, time_alpha=1.5)
    time = policy._draw_time(torch.zeros(20_000, 1))
    assert time.min() >= 0
    assert time.max() < 1
    # 1 - Beta(1.5, 1) has mean 0.4
    assert time.mean().item() == pytest.approx(0.4 if distribution == "beta" else 0.5, abs=0.01)


def test_select_action_keeps_history_and_queue():
    policy = make_policy()
    frames = [{k: v[:, 0] for k, v in make_batch().items() if k.startswith("obs")} for _ in range(4)]
    for t, frame in enumerate(frames):
        frame["observation.state"] = frame["observation.state"] + t
    noise = torch.randn(5, 4, 2)
    actions = [policy.select_action(frame, noise=noise) for frame in frames]

    def chunk(a, b):
        return policy.predict_action_chunk({k: torch.stack((a[k], b[k]), 1) for k in a}, noise=noise)

    first, second = chunk(frames[0], frames[0]), chunk(frames[2], frames[3])
    for t in range(3):
        torch.testing.assert_close(actions[t], first[:, t])
    torch.testing.assert_close(actions[3], second[:, 0])
    policy.reset()
    torch.testing.assert_close(policy.select_action(frames[0], noise=noise), first[:, 0])


def test_stage_labels_are_never_read():
    config = FlowConfig.from_schema(make_schema())
    assert config.observation_keys == ("observation.state", "observation.environment_state")
    from lerobot.configs import FeatureType, PolicyFeature

    config.input_features["observation.stage"] = PolicyFeature(FeatureType.STATE, (1,))  # as LeRobot's trainer would
    assert config.observation_keys == ("observation.state", "observation.environment_state")


def test_lerobot_finds_policy_and_processors():
    from lerobot.policies.factory import get_policy_class, make_pre_post_processors

    config = FlowConfig.from_schema(make_schema())
    assert get_policy_class("robolearn_flow") is FlowPolicy
    statistics = {
        "observation.state": {"mean": torch.ones(3), "std": torch.full((3,), 2.0)},
        "observation.environment_state": {"mean": torch.zeros(2), "std": torch.ones(2)},
        "action": {"min": torch.full((2,), -0.5), "max": torch.full((2,), 1.5)},
    }
    before, after = make_pre_post_processors(config, dataset_stats=statistics)
    batch = before({"observation.state": torch.full((1, 3), 5.0), "observation.environment_state": torch.ones(1, 2)})
    torch.testing.assert_close(batch["observation.state"], torch.full((1, 3), 2.0))
    torch.testing.assert_close(after(torch.ones(1, 2)), torch.full((1, 2), 1.5))


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"n_action_steps": 99}, "n_action_steps"),
        ({"num_blocks": 0}, "num_blocks"),
        ({"time_distribution": "x"}, "beta"),
    ],
)
def test_bad_settings_are_refused(settings, word):
    with pytest.raises(UserError, match=word):
        FlowConfig.from_schema(make_schema(), **settings)


def observe(n: int) -> dict:
    rng = np.random.default_rng(0)
    return {
        "observation.state": rng.normal(size=(n, 2, 3)).astype(np.float32),
        "observation.environment_state": rng.normal(size=(n, 2, 2)).astype(np.float32),
        "something.else": np.zeros(n),
    }


def test_served_policy_speaks_physical_units():
    policy = make_policy()
    served = TorchPolicy(policy, make_schema(), STATISTICS)
    assert isinstance(served, Policy)
    assert (served.n_obs_steps, served.horizon, served.n_action_steps) == (2, 4, 3)
    assert served.noise_shape == (4, 2)
    observation, noise = observe(3), np.random.default_rng(1).normal(size=(3, 4, 2)).astype(np.float32)
    chunk = served.predict_chunk(observation, noise)
    batch = {
        "observation.state": (torch.from_numpy(observation["observation.state"]) - torch.tensor([1.0, 2.0, 3.0])) / 2,
        "observation.environment_state": torch.from_numpy(observation["observation.environment_state"]),
    }
    raw = policy.predict_action_chunk(batch, noise=torch.from_numpy(noise)).numpy()
    np.testing.assert_allclose(chunk.values, np.clip(raw + 0.5, -0.5, 1.5), atol=1e-6)
    assert np.abs(raw).max() > 1  # so that the clipping was tried
    assert chunk.dt == 0.05
    assert served.predict_chunk(observation, n_samples=6).values.shape == (3, 6, 4, 2)
    np.testing.assert_array_equal(served.predict_chunk(observation, noise).values, chunk.values)


def test_save_and_load(tmp_path):
    served = TorchPolicy(make_policy(), make_schema(), STATISTICS)
    save_policy(tmp_path / "policy", served)
    save_policy(tmp_path / "policy", served)  # also over an older one
    assert [p.name for p in tmp_path.iterdir()] == ["policy"]
    loaded = load_policy(tmp_path / "policy")
    noise = np.random.default_rng(1).normal(size=(3, 4, 2)).astype(np.float32)
    np.testing.assert_array_equal(
        loaded.predict_chunk(observe(3), noise).values, served.predict_chunk(observe(3), noise).values
    )
    assert loaded.schema == served.schema
    assert loaded.policy.config.time_alpha == 1.5


def edit(path, change) -> None:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: (f / "stats.json").unlink(), "lacks stats.json"),
        (lambda f: edit(f / "config.json", lambda d: d.update(type="act")), "policy 'act'"),
        (lambda f: edit(f / "config.json", lambda d: d.update(hidden_dim=32)), r"another policy: .*\(32"),
        (lambda f: make_schema(3).save(f / "schema.json"), r"'action' has shape \(2,\)"),
    ],
)
def test_checkpoint_of_another_policy(tmp_path, spoil, words):
    save_policy(tmp_path / "policy", TorchPolicy(make_policy(), make_schema(), STATISTICS))
    spoil(tmp_path / "policy")
    with pytest.raises(UserError, match=words):
        load_policy(tmp_path / "policy")


def test_graph_exports_to_onnx(tmp_path):
    import onnxruntime

    policy = make_policy().eval()
    graph = VelocityGraph(policy).eval()
    path = tmp_path / "velocity.onnx"
    batch = torch.export.Dim("batch", min=1)
    torch.onnx.export(
        graph,
        graph.example_inputs(),
        path,
        input_names=graph.input_names,
        output_names=graph.output_names,
        dynamic_shapes=(tuple({0: batch} for _ in graph.input_names),),
        dynamo=True,
        verbose=False,
    )
    session = onnxruntime.InferenceSession(path)
    assert tuple(i.name for i in session.get_inputs()) == graph.input_names
    for n in (1, 7):
        data = make_batch(n)
        noise = torch.randn(n, 4, 2)
        feed = {key: data[key].numpy() for key in policy.config.observation_keys}

        def velocity(x, t, feed=feed):
            return session.run(None, {**feed, "sample": x, "time": np.full(len(x), t, np.float32)})[0]

        chunk = euler(velocity, noise.numpy(), steps=policy.config.num_inference_steps)
        np.testing.assert_allclose(chunk, policy.predict_action_chunk(data, noise=noise), atol=1e-5)
