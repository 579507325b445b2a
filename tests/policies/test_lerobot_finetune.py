"""LeRobot's vision-language-action policies, tiny and random, fine-tuned by our trainer."""

import lerobot_runs
import numpy as np
import pytest
import tiny_vlas
import torch
from safetensors.torch import load_file

from robolearn.cli import main
from robolearn.data.dataset import EpisodeDataset
from robolearn.data.images import ImageOptions
from robolearn.errors import UserError
from robolearn.policies.lerobot_adapter.finetune import build
from robolearn.policies.lerobot_adapter.vla import prepare
from robolearn.policies.serving import load_policy, save_policy
from robolearn.train.feed import to_tensors
from robolearn.train.gradient import Compute
from robolearn.train.trainer import train

KINDS = ("smolvla", "pi0", "pi05")
WAYS = {
    "full": {"train_expert_only": False, "freeze_vision_encoder": False, "lora_rank": None},
    "expert": {"train_expert_only": True, "freeze_vision_encoder": True, "lora_rank": None},
    "lora": {"train_expert_only": False, "freeze_vision_encoder": False, "lora_rank": 4},
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vlas")
    lerobot_runs.write_dataset(folder / "demos", "external", episodes=2, length=12)
    with pytest.MonkeyPatch.context() as patch:
        tiny_vlas.shrink_pi(patch)
        for kind in KINDS:
            tiny_vlas.write_checkpoint(folder / kind, kind)
        yield folder


@pytest.fixture(scope="module")
def data(root):
    return EpisodeDataset.load(root / "demos", images=ImageOptions())


def pupil_of(root, data, kind, way="expert", **changes):
    settings = {"vlm": None, "horizon": 6, "n_action_steps": 3, "n_obs_steps": 1, "lora_alpha": 8} | WAYS[way]
    return build(data.schema, data, **({"pretrained": str(root / kind)} | settings | changes))


def batch_of(data, *frames):
    return to_tensors(data.windows(1, 6, tasks=True).batch(np.array(frames)))


def fixed_draws(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        "noise": torch.randn(count, 6, 8, generator=generator),
        "time": torch.rand(count, generator=generator),
    }


@torch.no_grad()
def loss_of(pupil, batch, draws):
    return float(pupil(batch, **draws)[0])


def weights_of(pupil):
    return {name: p.detach().clone() for name, p in pupil.source.named_parameters()}


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_lerobots_where_nothing_is_padded(root, data, kind, monkeypatch):
    pupil, batch, draws = pupil_of(root, data, kind), batch_of(data, 0, 2, 13), fixed_draws(3)
    served = pupil.served()
    frames = {key: batch[key] for key in (*served.schema.observation_keys, "action")}
    prepared = prepare(served.pipelines, frames, [lerobot_runs.TASK] * 3, device=torch.device("cpu"))
    policy = pupil.source.policy
    monkeypatch.setattr(policy.model, "sample_noise", lambda shape, device: draws["noise"])
    monkeypatch.setattr(policy.model, "sample_time", lambda count, device: draws["time"])
    for reduction in ("mean", "none"):
        theirs, _ = policy.forward(dict(prepared), reduction=reduction)
        ours, _ = pupil(batch, reduction, **draws)
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_padded_actions_do_not_count(root, data, kind):
    pupil, draws = pupil_of(root, data, kind).eval(), fixed_draws(2)
    batch = batch_of(data, 8, 20)  # the last 2 of 6 actions lie behind the end
    assert batch["action_is_pad"].sum(dim=1).tolist() == [2, 2]
    each, figures = pupil(batch, "none", **draws)
    assert each.shape == (2,)
    assert figures["loss"] == pytest.approx(loss_of(pupil, batch, draws), rel=1e-6)
    without = {key: values for key, values in batch.items() if key != "action_is_pad"}
    assert abs(loss_of(pupil, without, draws) - figures["loss"]) > 1e-6


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WAYS)
def test_only_what_shall_learn_changes_and_the_loss_falls(root, data, kind, way, tmp_path):
    torch.manual_seed(0)
    pupil, batch, draws = pupil_of(root, data, kind, way), batch_of(data, 1, 14), fixed_draws(2)
    start, first = weights_of(pupil), loss_of(pupil, batch, draws)
    rate = {"steps": 30, "learning_rate": 1e-2, "warmup": 1, "ema_decay": 0.5, "weight_decay": 0.0}
    train(pupil, lambda step: batch, out=tmp_path / "run", **rate)
    assert loss_of(pupil, batch, draws) < 0.8 * first
    changed = {name for name, values in weights_of(pupil).items() if not torch.equal(values, start[name])}
    if way == "lora":
        assert changed
        assert all(".lora_" in name for name in changed)
    elif way == "expert":
        assert any("expert" in name for name in changed)
        assert not any(".vlm." in name or "paligemma." in name for name in changed)
    else:
        assert any("embed_tokens" in name for name in changed)
        assert any("vision" in name for name in changed)
    # what does not learn is not in the trainer's checkpoint either
    kept = {key for key in load_file(tmp_path / "run" / "checkpoint.safetensors") if key.startswith("model")}
    assert len(kept) == sum(p.requires_grad for p in pupil.source.parameters())

    served = pupil.served()
    save_policy(tmp_path / "policy", served)
    again = load_policy(tmp_path / "policy")
    assert (again.horizon, again.n_action_steps) == (6, 3)
    frames = {key: values.numpy() for key, values in batch.items() if key.startswith("observation.")}
    observation = {**frames, "task": np.array([lerobot_runs.TASK] * 2)}
    noise = draws["noise"].numpy()
    chunk = served.predict_chunk(observation, noise).values
    np.testing.assert_allclose(again.predict_chunk(observation, noise).values, chunk, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WAYS)
def test_bf16_leaves_the_weights_in_float32(root, data, kind, way):
    pupil, batch, draws = pupil_of(root, data, kind, way), batch_of(data, 1, 14), fixed_draws(2)
    exact = loss_of(pupil, batch, draws)
    with torch.autocast("cpu", torch.bfloat16):
        short, _ = pupil(batch, **draws)
    short.backward()
    assert float(short.detach()) == pytest.approx(exact, rel=0.05)
    assert {p.dtype for p in pupil.parameters()} == {torch.float32}


def test_training_goes_on_where_it_was_stopped(root, data, tmp_path):
    """With the adapters of the same seed, as `robolearn train` builds them."""
    batches = data.windows(1, 6, tasks=True).shuffled(4, seed=0)
    settings = {"steps": 6, "save_every": 2, "warmup": 1, "compute": Compute(accumulate=2)}

    def run(folder, **more):
        torch.manual_seed(3)
        pupil = pupil_of(root, data, "pi0", "lora")
        train(pupil, batches, out=folder, **settings, **more)
        return weights_of(pupil)

    def stop(step, *_):
        if step == 5:
            raise KeyboardInterrupt

    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", on_step=stop)
    for name, values in run(tmp_path / "parts").items():
        torch.testing.assert_close(values, whole[name], rtol=0, atol=0)


@pytest.mark.slow
def test_a_compiled_network_has_the_same_loss(root, data):
    pupil, batch, draws = pupil_of(root, data, "pi0"), batch_of(data, 1, 14), fixed_draws(2)
    plain = loss_of(pupil, batch, draws)
    pupil.compile(options={"fallback_random": True})
    loss, _ = pupil(batch, **draws)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(plain, rel=1e-4)


def test_what_does_not_fit_is_named(root, data):
    blind = data.schema.select(["observation.state", "action"])
    settings = {"vlm": None, "horizon": 6, "n_action_steps": 3, "n_obs_steps": 1, "lora_alpha": 8} | WAYS["expert"]
    with pytest.raises(UserError, match=r"the dataset has no pictures: collect with env.cameras"):
        build(blind, data, pretrained=str(root / "pi0"), **settings)
    with pytest.raises(UserError, match=r"n_obs_steps=2 .* reads 1 frame"):
        pupil_of(root, data, "smolvla", n_obs_steps=2)
    with pytest.raises(UserError, match=r"there is no folder policy.vlm=/nowhere"):
        pupil_of(root, data, "smolvla", vlm="/nowhere")
    with pytest.raises(UserError, match="there is no policy 'nobody/nothing' here"):
        pupil_of(root, data, "smolvla", pretrained="nobody/nothing")


def test_a_policy_that_is_too_narrow_is_named(root, data, tmp_path):
    tiny_vlas.write_checkpoint(tmp_path / "narrow", "pi0", max_action_dim=4)
    with pytest.raises(UserError, match=r"'action' has 5 components, the policy in .* takes at most 4"):
        pupil_of(root, data, "pi0", pretrained=str(tmp_path / "narrow"))


@pytest.mark.parametrize("kind", KINDS)
def test_train_then_eval(root, kind, tmp_path, capsys):
    words = ("train.steps=2", "train.batch_size=2", "train.device=cpu", "train.tensorboard=false", "policy.lora_rank=2")
    given = (f"policy.pretrained={root / kind}", f"dataset={root / 'demos'}", f"out={tmp_path / 'run'}")
    choices = (f"policy={kind}", "train=lerobot_vla", "policy.horizon=6", "policy.n_action_steps=3")
    assert main(["train", *choices, *given, *words]) == 0
    size = f"env.image_size={lerobot_runs.PICTURE}"
    episode = ("task.max_episode_steps=6", "env.num_envs=1", "env.threads=1", "env.cameras=[external]", size)
    assert main(["eval", f"checkpoint={tmp_path / 'run'}", "task=lift", "episodes=1", *episode]) == 0
    assert "/1" in capsys.readouterr().out
