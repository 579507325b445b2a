"""What holds for every policy, backbone and variant: loss, sampling, history, faces, checkpoints."""

import json

import numpy as np
import pytest
import torch
from toys import (
    CAMERA,
    HORIZON,
    KINDS,
    STATISTICS,
    make_batch,
    make_noise,
    make_policy,
    make_schema,
    make_untrained,
    observe,
)

from robolearn.errors import UserError
from robolearn.policies.serving import TorchPolicy, load_policy, save_policy
from robolearn.protocols import Policy

EVERY = pytest.mark.parametrize("kind", KINDS)
SOME = pytest.mark.parametrize("kind", ["flow-mlp", "diffusion-unet"])


def seeded(policy, batch, **given):
    torch.manual_seed(7)
    return policy(batch, **given)


@EVERY
def test_the_losses_of_the_samples_have_the_loss_as_their_mean(kind):
    policy, batch = make_untrained(kind), make_batch()
    loss, figures = seeded(policy, batch)
    each, _ = seeded(policy, batch, reduction="none")
    assert each.shape == (5,)
    torch.testing.assert_close(each.mean(), loss)
    assert figures["loss"] == pytest.approx(loss.item())


@EVERY
def test_padded_actions_do_not_count(kind, monkeypatch):
    policy, batch = make_policy(kind), make_batch()
    plain, _ = seeded(policy, batch)
    honest, pad = policy.example, batch["action_is_pad"][..., None]

    def example(*args, **given):
        made = honest(*args, **given)
        return made._replace(target=torch.where(pad, 9.0, made.target))

    monkeypatch.setattr(policy, "example", example)
    torch.testing.assert_close(seeded(policy, batch)[0], plain)
    assert seeded(policy, {key: x for key, x in batch.items() if key != "action_is_pad"})[0] > 2 * plain


@EVERY
def test_every_weight_learns(kind):
    policy = make_policy(kind, camera=True).train()
    loss, _ = policy(make_batch(32, camera=True))
    loss.backward()
    assert [name for name, p in policy.named_parameters() if p.grad is None or not p.grad.any()] == []


@EVERY
def test_mixed_precision_trains(kind):
    policy = make_policy(kind, camera=True).train()
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = policy(make_batch(16, camera=True))
    loss.backward()
    assert all(p.grad.isfinite().all() for p in policy.parameters())


@EVERY
def test_samples_of_one_observation_stand_together_and_depend_on_their_noise_alone(kind):
    policy, batch = make_policy(kind), make_batch()
    noise = make_noise(15)
    chunks = policy.predict_action_chunk(batch, noise=noise, num_samples=3)
    assert chunks.shape == (5, 3, HORIZON, 2)
    for i in range(5):
        one = {key: value[i : i + 1] for key, value in batch.items()}
        for j in range(3):
            alone = policy.predict_action_chunk(one, noise=noise[3 * i + j][None])
            torch.testing.assert_close(chunks[i, j], alone[0], atol=1e-5, rtol=1e-5)
    assert policy.predict_action_chunk(batch).shape == (5, HORIZON, 2)
    with pytest.raises(ValueError, match="noise has shape"):
        policy.predict_action_chunk(batch, noise=noise)


@EVERY
def test_a_saved_policy_comes_back_the_same(kind, tmp_path):
    served = TorchPolicy(make_policy(kind, camera=True), make_schema(camera=True), STATISTICS)
    save_policy(tmp_path / "policy", served)
    save_policy(tmp_path / "policy", served)  # also over an older one
    assert [p.name for p in tmp_path.iterdir()] == ["policy"]
    loaded = load_policy(tmp_path / "policy")
    noise, seen = make_noise(3).numpy(), observe(3, camera=True)
    ours, theirs = served.predict_chunk(seen, noise), loaded.predict_chunk(seen, noise)
    np.testing.assert_array_equal(ours.values, theirs.values)
    assert (ours.n_valid is None) == (theirs.n_valid is None) == (not served.policy.config.dynamic_horizon)
    assert loaded.schema == served.schema
    assert loaded.policy.config == served.policy.config


@EVERY
def test_lerobot_finds_policy_and_processors_by_name(kind):
    from lerobot.policies.factory import get_policy_class, make_pre_post_processors

    policy = make_untrained(kind)
    assert get_policy_class(policy.name) is type(policy)
    statistics = {
        "observation.state": {"mean": torch.ones(3), "std": torch.full((3,), 2.0)},
        "observation.environment_state": {"mean": torch.zeros(2), "std": torch.ones(2)},
        "action": {"min": torch.full((2,), -0.5), "max": torch.full((2,), 1.5)},
    }
    before, after = make_pre_post_processors(policy.config, dataset_stats=statistics)
    seen = {"observation.state": torch.full((1, 3), 5.0), "observation.environment_state": torch.ones(1, 2)}
    batch = before({**seen, "task": "lift the cube"})
    torch.testing.assert_close(batch["observation.state"], torch.full((1, 3), 2.0))
    torch.testing.assert_close(after(torch.ones(1, 2)), torch.full((1, 2), 1.5))


@SOME
def test_lerobot_loads_what_was_saved(kind, tmp_path):
    policy = make_policy(kind)
    policy.save_pretrained(tmp_path)
    loaded = type(policy).from_pretrained(tmp_path)
    noise = make_noise()
    torch.testing.assert_close(
        loaded.predict_action_chunk(make_batch(), noise), policy.predict_action_chunk(make_batch(), noise)
    )


@SOME
def test_pictures_as_lerobot_gives_them_mean_the_same(kind):
    policy, batch = make_policy(kind, camera=True), make_batch(camera=True)
    floats = batch | {CAMERA: batch[CAMERA].movedim(-1, 2) / 255}
    noise = make_noise()
    expected = policy.predict_action_chunk(batch, noise)
    torch.testing.assert_close(policy.predict_action_chunk(floats, noise), expected, atol=1e-4, rtol=1e-4)
    darker = batch | {CAMERA: batch[CAMERA] // 2}
    assert not torch.allclose(policy.predict_action_chunk(darker, noise), expected, atol=1e-4)


@SOME
def test_select_action_keeps_history_and_queue(kind):
    policy = make_policy(kind)
    frames = [{k: v[:, 0] for k, v in make_batch().items() if k.startswith("obs")} for _ in range(4)]
    for t, frame in enumerate(frames):
        frame["observation.state"] = frame["observation.state"] + t
    noise = make_noise()
    actions = [policy.select_action(frame, noise=noise) for frame in frames]

    def chunk(a, b):
        return policy.predict_action_chunk({k: torch.stack((a[k], b[k]), 1) for k in a}, noise=noise)

    first, second = chunk(frames[0], frames[0]), chunk(frames[2], frames[3])
    for t in range(3):
        torch.testing.assert_close(actions[t], first[:, t])
    torch.testing.assert_close(actions[3], second[:, 0])
    policy.reset()
    torch.testing.assert_close(policy.select_action(frames[0], noise=noise), first[:, 0])


@SOME
def test_stage_labels_are_never_read(kind):
    from lerobot.configs import FeatureType, PolicyFeature

    config = make_untrained(kind).config
    assert config.observation_keys == ("observation.state", "observation.environment_state")
    config.input_features["observation.stage"] = PolicyFeature(FeatureType.STATE, (1,))  # as LeRobot's trainer would
    assert config.observation_keys == ("observation.state", "observation.environment_state")


def test_a_missing_channel_is_named():
    batch = make_batch()
    del batch["observation.environment_state"]
    with pytest.raises(UserError, match=r"lacks channel 'observation\.environment_state'"):
        make_policy("flow-mlp").predict_action_chunk(batch)


@SOME
def test_a_served_policy_speaks_physical_units(kind):
    policy = make_policy(kind, clip_sample=False) if kind.startswith("diffusion") else make_policy(kind)
    served = TorchPolicy(policy, make_schema(), STATISTICS)
    assert isinstance(served, Policy)
    assert (served.n_obs_steps, served.horizon, served.n_action_steps) == (2, HORIZON, 3)
    assert served.noise_shape == (HORIZON, 2)
    observation, noise = observe(3), make_noise(3).numpy()
    chunk = served.predict_chunk(observation, noise)
    batch = {
        "observation.state": (torch.from_numpy(observation["observation.state"]) - torch.tensor([1.0, 2.0, 3.0])) / 2,
        "observation.environment_state": torch.from_numpy(observation["observation.environment_state"]),
    }
    raw = policy.predict_action_chunk(batch, noise=torch.from_numpy(noise)).numpy()
    np.testing.assert_allclose(chunk.values, np.clip(raw + 0.5, -0.5, 1.5), atol=1e-6)
    assert np.abs(raw).max() > 1  # so that the clipping was tried
    assert (chunk.dt, chunk.n_valid) == (0.05, None)
    assert served.predict_chunk(observation, n_samples=6).values.shape == (3, 6, HORIZON, 2)
    np.testing.assert_array_equal(served.predict_chunk(observation, noise).values, chunk.values)


def edit(path, change):
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: (f / "schema.json").unlink(), "lacks schema.json"),
        (lambda f: edit(f / "config.json", lambda d: d.update(type="act")), "policy 'act'"),
        (
            lambda f: edit(f / "config.json", lambda d: d.update(type="robolearn_flw")),
            "policy 'robolearn_flw'; did you mean 'robolearn_flow'",
        ),
        (lambda f: edit(f / "config.json", lambda d: d.update(hidden_dim=32)), r"another policy: .*\b32\b"),
        (lambda f: make_schema(3).save(f / "schema.json"), r"'action' has shape \(2,\)"),
        (lambda f: make_schema(camera=True).save(f / "schema.json"), r"'observation\.images\.top' has shape None"),
    ],
)
def test_a_checkpoint_of_another_policy_is_refused(tmp_path, spoil, words):
    save_policy(tmp_path / "policy", TorchPolicy(make_policy("flow-mlp"), make_schema(), STATISTICS))
    spoil(tmp_path / "policy")
    with pytest.raises(UserError, match=words):
        load_policy(tmp_path / "policy")


@pytest.mark.parametrize(
    ("kind", "settings", "word"),
    [
        ("flow-mlp", {"n_action_steps": 99}, "n_action_steps"),
        ("flow-mlp", {"num_blocks": 0}, "num_blocks"),
        ("flow-mlp", {"time_distribution": "x"}, "beta"),
        ("flow-mlp", {"backbone": "unett"}, "did you mean 'unet'"),
        ("flow-mlp", {"variant": "rectifed"}, "did you mean 'rectified'"),
        ("flow-mlp", {"sampler": "rk4"}, "euler, heun"),
        ("flow-mlp", {"vision": "resnet50"}, "did you mean .resnet34"),
        ("flow-mlp", {"crop_ratio": 0.0}, "crop_ratio"),
        ("flow-mlp", {"horizons": (4, 8)}, "backbone=dit"),
        ("flow-mlp", {"dynamic_horizon": True}, "give horizons"),
        ("flow-dit", {"num_heads": 3}, "multiple of 2 num_heads"),
        ("flow-mixture", {"horizons": (4, 7)}, "rise to 8"),
        ("flow-mixture", {"horizons": (8,)}, "two or more"),
        ("flow-mixture", {"horizons": (4, 2, 8)}, "rise to 8"),
        ("flow-mixture", {"consensus_steps": 9}, "consensus_steps"),
        ("flow-mixture", {"consensus_horizons": 4}, "consensus_horizons"),
        ("flow-shortcut-mlp", {"shortcut_steps": 48}, "power of two"),
        ("flow-shortcut-mlp", {"num_inference_steps": 3}, "1, 2, 4"),
        ("flow-shortcut-mlp", {"shortcut_share": 1.0}, "shortcut_share"),
        ("flow-shortcut-mlp", {"sampler": "heun"}, "sampler=euler"),
        ("diffusion-unet", {"down_dims": (6, 8)}, "n_groups"),
        ("diffusion-unet", {"down_dims": (8, 8, 8, 8, 8)}, "multiple of 16"),
        ("diffusion-unet", {"kernel_size": 4}, "odd kernel_size"),
        ("diffusion-unet", {"prediction_type": "velocity"}, "epsilon, sample"),
        ("diffusion-unet", {"beta_schedule": "linea"}, "did you mean 'linear'"),
        ("diffusion-unet", {"num_inference_steps": 101}, "num_train_timesteps"),
        ("diffusion-unet", {"clip_sample_range": 0.0}, "clip_sample_range"),
    ],
)
def test_bad_settings_are_refused(kind, settings, word):
    with pytest.raises(UserError, match=word):
        make_untrained(kind, **settings)


def test_channels_that_no_encoder_reads_are_named():
    from robolearn.policies.flow.configuration_flow import FlowConfig
    from robolearn.schema import Feature

    features = dict(make_schema(camera=True).features)
    axes = {"names": ("height", "width", "channels"), "unit": ("m",) * 3, "role": "observation"}
    schema = make_schema()
    schema.features["observation.depth.top"] = Feature("float32", (36, 40, 1), **axes)
    with pytest.raises(UserError, match=r"observation\.depth\.top.*RGB"):
        FlowConfig.from_schema(schema)
    schema = make_schema()
    schema.features[CAMERA] = features[CAMERA].__class__("image", (12, 12, 3), **axes)
    with pytest.raises(UserError, match=r"observation\.images\.top.*at least 16 pixels"):
        FlowConfig.from_schema(schema)
