"""Checkpoints of LeRobot's trainer, served here: the same actions as LeRobot's own loop gives."""

import json
from collections import deque

import lerobot_runs
import numpy as np
import pytest
import torch
from diffusers.schedulers import scheduling_ddpm
from lerobot.configs import PreTrainedConfig
from lerobot.policies import get_policy_class, make_pre_post_processors

from robolearn.acting import ChunkActor
from robolearn.errors import UserError
from robolearn.policies.serving import is_lerobot_folder, load_policy, load_weights
from robolearn.sampling import ddpm
from robolearn.schema import Schema

WORLDS = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Makes checkpoints, each once."""
    root = tmp_path_factory.mktemp("lerobot")
    for cameras in ((), ("external",)):
        lerobot_runs.write_dataset(root / f"data{len(cameras)}", *cameras)

    def make(kind, *, cameras=0, **changes):
        place = root / "-".join((kind, str(cameras), *map(str, changes.values())))
        if not place.exists():
            lerobot_runs.write_checkpoint(place, root / f"data{cameras}", kind, **changes)
        return place / "pretrained_model"

    return make


def schema(cameras=0):
    return lerobot_runs.lift_schema(*["external"][:cameras])


def frames_of(policy, steps, rng):
    """Observations [WORLDS, ...] of consecutive steps."""
    several = [lerobot_runs.random_frames(policy.schema, WORLDS, rng) for _ in range(steps)]
    return [{key: values for key, values in frame.items() if key != "action"} for frame in several]


def history_of(policy, count, rng):
    frames = lerobot_runs.random_frames(policy.schema, count * policy.n_obs_steps, rng)
    return {k: v.reshape(count, policy.n_obs_steps, *v.shape[1:]) for k, v in frames.items() if k != "action"}


def their_actions(folder, frames, *, noises=()):
    """What LeRobot's evaluation does with observations; `noises` [WORLDS, ...] start the chunks."""
    config = PreTrainedConfig.from_pretrained(folder)
    policy = get_policy_class(config.type)(config).eval()
    load_weights(policy, folder / "model.safetensors")
    before, after = make_pre_post_processors(config, str(folder))
    starts, actions = deque(noises), []
    for frame in frames:
        batch = {key: torch.from_numpy(values) for key, values in frame.items()}
        batch = {k: v.movedim(-1, 1).float() / 255 if v.dtype == torch.uint8 else v for k, v in batch.items()}
        asks = starts and len(actions) % config.n_action_steps == 0
        start = {"noise": torch.from_numpy(starts.popleft())} if asks else {}
        actions.append(after(policy.select_action(before(batch), **start)).numpy())
    return np.stack(actions)


def our_actions(policy, frames):
    actor = ChunkActor(policy, WORLDS)
    actor.reset(range(WORLDS))
    return np.stack([actor.act(frame) for frame in frames])


def noise_of(policy, chunks):
    """What a `ChunkActor` draws for its worlds, chunk by chunk."""
    worlds = [np.random.default_rng(seed) for seed in range(WORLDS)]
    return [np.stack([rng.standard_normal(policy.noise_shape, np.float32) for rng in worlds]) for _ in range(chunks)]


def within(policy, actions):
    return actions.clip(policy.schema.action.low, policy.schema.action.high)


@pytest.mark.parametrize("cameras", [0, 1])
def test_act_acts_as_in_lerobots_own_loop(folder, cameras):
    policy = load_policy(folder("act", cameras=cameras), schema(cameras))
    assert (policy.noise_shape, policy.n_obs_steps, policy.horizon, policy.n_action_steps) == (None, 1, 8, 4)
    frames = frames_of(policy, 9, np.random.default_rng(1))
    theirs = their_actions(folder("act", cameras=cameras), frames)
    np.testing.assert_allclose(our_actions(policy, frames), within(policy, theirs), rtol=0, atol=1e-6)
    assert theirs.std(axis=1).max() > 1e-3, "worlds differ"


@pytest.mark.parametrize("cameras", [0, 1])
def test_diffusion_by_ddim_acts_as_in_lerobots_own_loop(folder, cameras):
    policy = load_policy(folder("ddim", cameras=cameras), schema(cameras))
    # a chunk of 8 begins with the older of the 2 frames
    assert (policy.noise_shape, policy.n_obs_steps, policy.horizon, policy.n_action_steps) == ((8, 5), 2, 7, 4)
    frames = frames_of(policy, 9, np.random.default_rng(1))
    theirs = their_actions(folder("ddim", cameras=cameras), frames, noises=noise_of(policy, 3))
    np.testing.assert_allclose(our_actions(policy, frames), within(policy, theirs), rtol=0, atol=1e-5)


def test_diffusion_by_ddpm_takes_the_noise_of_every_step_from_its_caller(folder, monkeypatch):
    policy = load_policy(folder("ddpm"), schema())
    assert policy.noise_shape == (5, 8, 5)
    frames = frames_of(policy, 9, np.random.default_rng(1))
    noises = noise_of(policy, 3)
    later = deque(torch.from_numpy(noise[:, k]) for noise in noises for k in range(1, 5))
    monkeypatch.setattr(scheduling_ddpm, "randn_tensor", lambda *_, **__: later.popleft())
    theirs = their_actions(folder("ddpm"), frames, noises=[noise[:, 0] for noise in noises])
    assert not later
    np.testing.assert_allclose(our_actions(policy, frames), within(policy, theirs), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["flow", "diffusion"])
@pytest.mark.parametrize("cameras", [0, 1])
def test_our_policies_act_as_in_lerobots_own_loop(folder, kind, cameras):
    path = folder(kind, cameras=cameras)
    policy = load_policy(path, schema(cameras))
    frames = frames_of(policy, 9, np.random.default_rng(1))
    theirs = their_actions(path, frames, noises=noise_of(policy, 3))
    np.testing.assert_allclose(our_actions(policy, frames), within(policy, theirs), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["ddpm", "ddim", "act", "flow"])
def test_samples_come_together_and_follow_their_noise(folder, kind):
    policy = load_policy(folder(kind), schema())
    observation = history_of(policy, 2, np.random.default_rng(1))
    noise = None
    if policy.noise_shape is not None:
        noise = np.random.default_rng(2).standard_normal((6, *policy.noise_shape), np.float32)
    chunks = policy.predict_chunk(observation, noise, n_samples=3).values
    assert chunks.shape == (2, 3, policy.horizon, 5)
    for k in range(3):
        alone = policy.predict_chunk(observation, None if noise is None else noise[k::3]).values
        np.testing.assert_allclose(chunks[:, k], alone, rtol=0, atol=1e-6)
    spread = np.ptp(chunks, axis=1).max()
    assert spread == 0 if kind == "act" else spread > 1e-3


def test_a_state_that_never_changes_is_normalised_as_lerobot_does(folder):
    """Min-max of a constant divides by 1e-8: an affine map of our own would lose its -1 in rounding."""
    policy = load_policy(folder("ddim"), schema())
    observation = history_of(policy, 2, np.random.default_rng(1))
    assert policy.prepare(observation)["observation.state"][..., -1].unique().tolist() == [-1.0]


def test_the_normaliser_for_learning_on_top_goes_by_the_bounds_of_the_action(folder):
    policy = load_policy(folder("act"), schema())
    high = np.array(schema().action.high, np.float32)
    np.testing.assert_allclose(policy.normalizer["action"](high), 1.0, rtol=1e-6)


def test_the_channels_may_lie_in_the_folder(folder, tmp_path):
    path = folder("act")
    assert is_lerobot_folder(path)
    with pytest.raises(UserError, match="does not say which channels it was trained on: copy meta/robolearn_schema"):
        load_policy(path)
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in path.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    schema().save(copy / "schema.json")
    assert load_policy(copy).schema == schema()


def test_a_policy_reads_its_own_channels_of_a_task_that_has_more(folder):
    assert load_policy(folder("act"), schema(1)).schema.observation_keys == schema().observation_keys


def test_another_task_or_missing_camera_is_named(folder):
    narrow = Schema({k: f for k, f in schema().features.items() if k != "observation.environment_state"}, fps=20)
    with pytest.raises(UserError, match=r"'observation.environment_state' has shape \(9,\) in .* but is absent"):
        load_policy(folder("act"), narrow)
    with pytest.raises(UserError, match=r"'observation.images.external' has shape \(48, 48, 3\) .* is absent"):
        load_policy(folder("act", cameras=1), schema())


def test_an_ensemble_over_time_is_refused(folder):
    path = folder("act", n_action_steps=1, temporal_ensemble_coeff=0.01)
    with pytest.raises(UserError, match="set temporal_ensemble_coeff to null"):
        load_policy(path, schema())


def test_a_type_that_is_not_served_is_named(folder, tmp_path):
    for name in ("policy_preprocessor.json", "model.safetensors"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "config.json").write_text(json.dumps({"type": "difusion"}))
    with pytest.raises(UserError, match=r"policy of type 'difusion'.*'diffusion'"):
        load_policy(tmp_path, schema())


def test_ddpm_is_the_same_for_numpy_and_torch():
    noise = np.random.default_rng(0).standard_normal((2, 4, 3, 5)).astype(np.float32)
    settings = {"times": [3, 2, 1, 0], "alphas": [0.1, 0.4, 0.7, 0.95, 1.0], "prediction": "sample", "clip": 1.0}
    a = ddpm(lambda x, t: 0.5 * x + t, noise, **settings)
    b = ddpm(lambda x, t: 0.5 * x + t, torch.from_numpy(noise), **settings)
    np.testing.assert_allclose(a, b.numpy(), rtol=1e-5)
    assert a.shape == (2, 3, 5)
