"""LeRobot's vision-language-action policies, tiny and random, served and evaluated here."""

import json
import shutil

import lerobot_runs
import numpy as np
import pytest
import tiny_vlas
import torch
from lerobot.configs import PreTrainedConfig
from lerobot.policies import get_policy_class, make_pre_post_processors
from safetensors.torch import load_file, load_model, save_file

from robolearn.cli import main
from robolearn.errors import UserError
from robolearn.policies.serving import load_policy, save_policy

KINDS = ("smolvla", "pi0", "pi05")
CUBE, BLOCK = "put the red cube into the left bin", "put the blue block into the right bin"
EPISODE = ("task.max_episode_steps=6", "env.num_envs=1", "env.threads=1", "env.cameras=[external]")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("vlas")
    with pytest.MonkeyPatch.context() as patch:
        tiny_vlas.shrink_pi(patch)
        yield {kind: tiny_vlas.write_checkpoint(root / kind, kind) for kind in KINDS}


def observation_of(policy, *tasks, seed=0):
    frames = lerobot_runs.random_frames(policy.schema, len(tasks), np.random.default_rng(seed))
    channels = {key: frames[key][:, None] for key in policy.schema.observation_keys}
    return {**channels, "task": np.array(tasks)}


def noise_of(policy, count, seed=0):
    return np.random.default_rng(seed).standard_normal((count, *policy.noise_shape), np.float32)


def their_chunk(folder, observation, noise):
    """What LeRobot's own loading and pipelines make of the newest frames."""
    config = PreTrainedConfig.from_pretrained(folder)
    if config.type == "smolvla":
        config.vlm_model_name = str(folder / "vlm")
    policy = get_policy_class(config.type)(config).eval()
    load_model(policy, folder / "model.safetensors")
    own = {"tokenizer_processor": {"tokenizer_name": str(folder / "vlm")}}
    before, after = make_pre_post_processors(config, str(folder), preprocessor_overrides=own)
    picture = torch.from_numpy(observation["observation.images.external"][:, -1]).movedim(-1, 1).float() / 255
    batch = {
        "observation.state": torch.from_numpy(observation["observation.state"][:, -1]),
        "observation.images.external": picture,
        "task": observation["task"].tolist(),
    }
    return after(policy.predict_action_chunk(before(batch), noise=torch.from_numpy(noise))).numpy()


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_are_those_of_lerobot(folders, kind):
    policy = load_policy(folders[kind])
    assert policy.reads_task
    assert (policy.noise_shape, policy.n_obs_steps, policy.horizon, policy.n_action_steps) == ((8, 8), 1, 8, 4)
    observation, noise = observation_of(policy, CUBE, BLOCK), noise_of(policy, 2)
    theirs = their_chunk(folders[kind], observation, noise)
    chunk = policy.predict_chunk(observation, noise).values
    expected = theirs.clip(policy.schema.action.low, policy.schema.action.high)
    np.testing.assert_allclose(chunk, expected, rtol=0, atol=1e-5)
    assert np.ptp(chunk, axis=(0, 1)).max() > 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_samples_follow_their_noise_and_what_is_seen_and_said(folders, kind):
    policy = load_policy(folders[kind])
    observation, noise = observation_of(policy, CUBE, BLOCK), noise_of(policy, 6)
    chunks = policy.predict_chunk(observation, noise, n_samples=3).values
    assert chunks.shape == (2, 3, 8, 5)
    for k in range(3):
        alone = policy.predict_chunk(observation, noise[k::3]).values
        np.testing.assert_allclose(chunks[:, k], alone, rtol=0, atol=1e-5)
    assert np.ptp(chunks, axis=1).max() > 1e-3
    before = policy.physical(policy.policy.predict_action_chunk(policy.prepare(observation), torch.tensor(noise[:2])))
    for key in (*policy.schema.observation_keys, "task"):
        other = observation_of(policy, BLOCK, CUBE, seed=1)
        changed = policy.prepare({**observation, key: other[key]})
        after = policy.physical(policy.policy.predict_action_chunk(changed, torch.tensor(noise[:2])))
        assert np.abs(after - before).max() > 1e-5, f"{key} makes no difference"


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_policy_needs_no_other_folder(folders, kind, tmp_path):
    policy = load_policy(folders[kind])
    save_policy(tmp_path / "saved", policy)
    again = load_policy(tmp_path / "saved")
    observation, noise = observation_of(policy, CUBE, BLOCK), noise_of(policy, 2)
    chunk = policy.predict_chunk(observation, noise).values
    np.testing.assert_array_equal(again.predict_chunk(observation, noise).values, chunk)
    # LeRobot finds its own names in it
    steps = json.loads((tmp_path / "saved" / "policy_preprocessor.json").read_text())["steps"]
    names = [step["config"]["tokenizer_name"] for step in steps if "tokenizer_name" in step.get("config", {})]
    assert names == [tiny_vlas.HUB_NAMES[kind]]


def test_weights_named_as_in_openpi_are_read(folders, tmp_path):
    folder = shutil.copytree(folders["pi0"], tmp_path / "copy")
    weights = load_file(folder / "model.safetensors")
    save_file({name.removeprefix("model."): tensor for name, tensor in weights.items()}, folder / "model.safetensors")
    renamed = load_policy(folder).policy.state_dict()
    for name, tensor in load_policy(folders["pi0"]).policy.state_dict().items():
        torch.testing.assert_close(renamed[name], tensor, rtol=0, atol=0)


def test_weights_of_another_policy_are_told_apart(folders, tmp_path):
    folder = shutil.copytree(folders["pi0"], tmp_path / "copy")
    shutil.copy(folders["pi05"] / "model.safetensors", folder)
    with pytest.raises(UserError, match="is a checkpoint of another policy"):
        load_policy(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_a_chunk_goes_on_where_the_one_before_is_executed(folders, kind):
    policy = load_policy(folders[kind])
    batch = policy.prepare(observation_of(policy, CUBE))
    noise, rest = torch.from_numpy(noise_of(policy, 1)), torch.full((6, 5), 0.5)
    source = policy.policy
    free = source.predict_action_chunk(batch, noise)
    guided = source.predict_action_chunk(
        batch, noise, inference_delay=2, prev_chunk_left_over=rest, execution_horizon=6
    )
    torch.testing.assert_close(guided[0, :2], rest[:2])
    assert (guided - 0.5)[0, 2:4].abs().mean() < (free - 0.5)[0, 2:4].abs().mean()
    torch.testing.assert_close(source.predict_action_chunk(batch, noise), free)
    assert source.policy.config.rtc_config is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_tokeniser_is_asked_for(folders, kind, tmp_path):
    folder = shutil.copytree(folders[kind], tmp_path / "copy", ignore=shutil.ignore_patterns("vlm"))
    with pytest.raises(UserError, match=f"`hf download {tiny_vlas.HUB_NAMES[kind]} .*--local-dir {folder}/vlm"):
        load_policy(folder)


def test_an_unreadable_tokeniser_is_named(folders, tmp_path):
    folder = shutil.copytree(folders["smolvla"], tmp_path / "copy", ignore=shutil.ignore_patterns("tokenizer*"))
    with pytest.raises(UserError, match="does not hold what smolvla needs of its VLM"):
        load_policy(folder)


def test_an_adapter_without_its_base_is_told_apart(folders, tmp_path):
    folder = shutil.copytree(folders["pi0"], tmp_path / "copy")
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    with pytest.raises(UserError, match="merge it into its base policy"):
        load_policy(folder)


def test_an_instruction_must_be_given(folders):
    policy = load_policy(folders["pi0"])
    observation = observation_of(policy, CUBE)
    del observation["task"]
    with pytest.raises(UserError, match="reads an instruction"):
        policy.predict_chunk(observation)


def test_export_says_to_serve_with_torch(folders):
    with pytest.raises(UserError, match=r"is not exported, .* serve it with torch"):
        load_policy(folders["smolvla"]).graphs()


def test_actions_relative_to_the_state_are_refused(folders, tmp_path):
    folder = shutil.copytree(folders["pi0"], tmp_path / "copy")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "use_relative_actions": True}))
    with pytest.raises(UserError, match="relative to the state"):
        load_policy(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_eval_runs_an_episode(folders, kind, capsys):
    size = f"env.image_size={lerobot_runs.PICTURE}"
    assert main(["eval", f"checkpoint={folders[kind]}", "task=lift", "episodes=1", size, *EPISODE]) == 0
    assert "/1" in capsys.readouterr().out
