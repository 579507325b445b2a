"""`robolearn finetune` of a policy that reads pictures, at toy sizes, and what is refused before it begins."""

import dataclasses
import json

import numpy as np
import pytest
from toy_options import ALGO, ENV, POLICY

from robolearn.cli import main
from robolearn.commands import demonstrations
from robolearn.commands.common import load_base, load_checkpoint
from robolearn.commands.demonstrations import episodes_of, load_demonstrations, require_memory
from robolearn.data.dataset import EpisodeDataset
from robolearn.data.images import ImageOptions
from robolearn.data.journal import read_journal
from robolearn.errors import UserError
from robolearn.language import TASK
from robolearn.real.bundle import load_bundle

EYE = "observation.images.external"
SEEING = (*ENV, "env.cameras=[external]", "env.image_size=32", "task.max_episode_steps=12")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Demonstrations with pictures of 40 pixels, and a policy that reads those of one camera at 32."""
    out = tmp_path_factory.mktemp("pictures")
    cameras = ("env.cameras=[external,wrist]", "env.image_size=40", "video=false")
    assert main(["collect", "num_episodes=2", *ENV, *cameras, "expert.noise=0", f"out={out / 'demos'}"]) == 0
    training = ("train.steps=4", "train.batch_size=16", "train.device=cpu", "image_size=[32,32]")
    reads = f"observations=[observation.state,{EYE}]"
    assert (
        main(
            [
                "train",
                f"dataset={out / 'demos'}",
                *POLICY,
                "policy.vision_dim=8",
                *training,
                reads,
                f"out={out / 'base'}",
            ]
        )
        == 0
    )
    return out


def finetune(folder, out, *words, dataset="demos"):
    given = (f"checkpoint={folder / 'base'}", f"dataset={folder / dataset}", f"out={out}")
    return main(["finetune", *given, *SEEING, *ALGO, *words])


def error(capsys):
    return " ".join(capsys.readouterr().err.split())


# ---------------------------------------------------------------- demonstrations


def test_demonstrations_come_with_the_pictures_that_the_policy_reads(folder):
    schema = load_base(folder / "base").schema
    data = load_demonstrations(folder / "demos", schema)
    whole = EpisodeDataset.load(folder / "demos", images=ImageOptions((EYE,), (32, 32)))
    assert set(data.images) == {EYE}
    episodes = list(episodes_of(data))
    assert len(episodes) == data.num_episodes == 2
    for k, episode in enumerate(episodes):
        steps = len(episode["action"])
        assert (episode[EYE].shape, episode[EYE].dtype) == ((steps, 32, 32, 3), np.uint8)
        np.testing.assert_array_equal(episode[EYE], whole.images[EYE].take(np.arange(data.starts[k], data.ends[k])))
        assert episode[TASK].tolist() == [data.tasks[k]] * steps


def test_demonstrations_of_other_channels_are_refused(folder):
    schema = load_base(folder / "base").schema
    features = dict(schema.features)
    features["observation.state"] = dataclasses.replace(
        features["observation.state"], shape=(3,), names=("a", "b", "c"), unit=("1",) * 3
    )
    with pytest.raises(UserError, match=r"channel 'observation.state' has shape \(3,\), the dataset's \(\d+,\)"):
        load_demonstrations(folder / "demos", dataclasses.replace(schema, features=features))
    unknown = {"observation.images.side": features[EYE], **schema.features}
    with pytest.raises(UserError, match=r"the dataset has no channel 'observation.images.side'"):
        load_demonstrations(folder / "demos", dataclasses.replace(schema, features=unknown))


def test_pictures_that_do_not_fit_into_memory_are_refused_before_learning(folder, monkeypatch):
    schema = load_base(folder / "base").schema
    require_memory(schema, shown=1000, kept=1000)
    pages = {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(demonstrations.os, "sysconf", pages.get)
    fits = int(0.8 * 4096 * 1000) // (32 * 32 * 3) - 500
    require_memory(schema, shown=500, kept=fits)
    with pytest.raises(
        UserError, match=rf"need 0\.0 GB of memory.*give algo\.replay_steps={fits}, fewer demonstrations"
    ):
        require_memory(schema, shown=500, kept=fits + 1)
    state = schema.select(["observation.state", "action"])
    require_memory(state, shown=10**9, kept=10**9)


# ---------------------------------------------------------------- worlds


def test_worlds_without_the_policy_s_camera_are_refused_by_name(folder, tmp_path, capsys):
    for words in (("env.cameras=[]",), ("env.cameras=[wrist]",), ("env.image_size=24",)):
        assert finetune(folder, tmp_path, *words) == 2
        told = error(capsys)
        assert f"the policy reads pictures '{EYE}' of 32 x 32 pixels" in told
        assert "give env.cameras=[external] env.image_size=32" in told
    assert main(["eval", f"checkpoint={folder / 'base'}", "episodes=1", *ENV]) == 2
    assert "give env.cameras=[external] env.image_size=32" in error(capsys)


# ---------------------------------------------------------------- the whole way


@pytest.mark.slow
def test_a_policy_that_sees_is_fine_tuned_evaluated_and_exported(folder, tmp_path, capsys):
    assert finetune(folder, tmp_path / "fine") == 0
    for trajectory, _ in read_journal(tmp_path / "fine" / "episodes"):
        assert trajectory.frames[EYE].shape == (len(trajectory.reward) + 1, 32, 32, 3)
        assert trajectory.frames[EYE].dtype == np.uint8
        assert trajectory.frames[EYE].std() > 5  # something is seen
    before = (tmp_path / "fine" / "policy" / "residual.safetensors").read_bytes()
    assert finetune(folder, tmp_path / "fine", "algo.total_steps=96") == 0  # goes on
    assert (tmp_path / "fine" / "policy" / "residual.safetensors").read_bytes() != before

    policy, correction = load_checkpoint(tmp_path / "fine")
    seen = {
        "observation.state": np.zeros((3, *policy.schema["observation.state"].shape), np.float32),
        EYE: np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8),
    }
    base = np.zeros((3, *policy.schema.action.shape), np.float32)
    corrected = correction(seen, base)
    dark = correction({**seen, EYE: np.zeros_like(seen[EYE])}, base)
    assert np.abs(corrected - base).max() > 0
    assert np.abs(corrected - dark).max() > 0  # pictures count

    words = ("episodes=2", *SEEING, f"out={tmp_path / 'eval'}")
    assert main(["eval", f"checkpoint={tmp_path / 'fine'}", *words]) == 0
    assert len(json.loads((tmp_path / "eval" / "episodes.json").read_text())["episodes"]) == 2
    assert main(["export", f"checkpoint={tmp_path / 'fine'}", f"out={tmp_path / 'bundle'}"]) == 0
    bundle = load_bundle(tmp_path / "bundle")
    np.testing.assert_allclose(bundle.correction(seen, base), corrected, rtol=0, atol=1e-5)
