"""`robolearn train train.weights=...`: progress decides how much a frame counts."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from robolearn.cli import main
from robolearn.commands import train as train_module
from robolearn.data.dataset import EpisodeDataset
from robolearn.data.progress import PROGRESS_FILE, read_progress, write_progress

PAGE = (Path(__file__).parents[2] / "docs" / "policies.md").read_text(encoding="utf-8")
TOY = ("policy.hidden_dim=16", "policy.num_blocks=1", "policy.condition_dim=16", "train.batch_size=32")
BUDGET = ("train.steps=10", "train.device=cpu")


@pytest.fixture(scope="module")
def demos(tmp_path_factory):
    out = tmp_path_factory.mktemp("weights") / "demos"
    words = ("num_episodes=2", "env.num_envs=2", "env.threads=1", "expert.noise=0", f"out={out}")
    assert main(["collect", *words]) == 0
    data = EpisodeDataset.load(out)
    # the first episode leads nowhere, the second to the end
    progress = np.concatenate([np.zeros(data.ends[0]), np.linspace(0, 1, data.ends[1] - data.starts[1])])
    write(out / PROGRESS_FILE, data, progress)
    write(out / "falling.parquet", data, 1 - np.arange(data.num_frames) / data.num_frames)
    return out


def write(path, data, progress):
    write_progress(path, progress, starts=data.starts, ends=data.ends, source="test")


def train(demos, out, *words):
    return main(["train", f"dataset={demos}", f"out={out}", *TOY, *BUDGET, *words])


def weighted(demos, out, *words):
    return train(demos, out, f"train.weights={demos / PROGRESS_FILE}", *words)


def tensors(folder):
    return load_file(folder / "policy" / "model.safetensors")


def differ(one, other):
    return any((tensors(one)[name] != values).any() for name, values in tensors(other).items())


@pytest.fixture(scope="module")
def plain(demos, tmp_path_factory):
    out = tmp_path_factory.mktemp("plain")
    assert train(demos, out) == 0
    return out


@pytest.mark.parametrize("weighting", ["rabc", "rising"])
def test_weights_change_what_is_learned_and_parts_do_not(demos, plain, tmp_path, weighting, capsys):
    word = f"train.weighting={weighting}"
    assert weighted(demos, tmp_path / "whole", word) == 0
    said = capsys.readouterr().out
    assert weighted(demos, tmp_path / "parts", word, "train.accumulate=3") == 0
    assert differ(tmp_path / "whole", plain)
    whole, parts = tensors(tmp_path / "whole"), tensors(tmp_path / "parts")
    for name, expected in whole.items():
        np.testing.assert_allclose(parts[name], expected, rtol=0, atol=1e-5)
    (share,) = re.findall(r"(\d+)% of the frames count fully", said)
    data = EpisodeDataset.load(demos)
    assert int(share) == pytest.approx(100 * (data.ends[1] - data.ends[0]) / data.num_frames, abs=3)


def test_what_does_not_rise_is_not_learned(demos, tmp_path, monkeypatch):
    """The same policy comes of a dataset in which the episode without progress has other actions."""
    load = train_module.load_dataset

    def spoilt(*arguments):
        data = load(*arguments)
        data.statistics  # noqa: B018 - before the change, which shall not move the normalisation
        data.channels["action"][: data.ends[0]] *= -1
        return data

    assert weighted(demos, tmp_path / "clean", "train.weighting=rising") == 0
    monkeypatch.setattr(train_module, "load_dataset", spoilt)
    assert weighted(demos, tmp_path / "spoilt", "train.weighting=rising") == 0
    assert not differ(tmp_path / "clean", tmp_path / "spoilt")
    assert train(demos, tmp_path / "all") == 0
    assert differ(tmp_path / "all", tmp_path / "spoilt")


def test_a_run_goes_on_with_its_own_weights_only(demos, plain, tmp_path, capsys):
    assert weighted(demos, tmp_path) == 0
    assert weighted(demos, tmp_path) == 0
    capsys.readouterr()
    moved = demos / "moved.parquet"
    moved.write_bytes((demos / PROGRESS_FILE).read_bytes())
    assert train(demos, tmp_path, f"train.weights={moved}") == 0  # the same progress elsewhere
    data = EpisodeDataset.load(demos)
    progress = read_progress(moved, starts=data.starts, ends=data.ends)
    write(moved, data, progress**2)
    others = [("train.weighting=rising",), ("train.kappa=0.02",), (f"train.weights={moved}",), ("train.weights=null",)]
    for words in others:
        assert weighted(demos, tmp_path, *words) == 2
        assert re.search(r"was begun with weights=rabc of \w+ with kappa 0\.01, not", capsys.readouterr().err)
    assert weighted(demos, plain) == 2
    assert "was begun with weights=None, not rabc of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("train.weighting=rabcd",), "unknown train.weighting 'rabcd'; did you mean 'rabc'?"),
        (("train.weights=nowhere.parquet",), "nowhere.parquet is no parquet file that can be read"),
        (("train.weights={demos}/falling.parquet", "train.weighting=rising"), "no frame of the dataset makes progress"),
        (("train.weights={demos}/meta/tasks.parquet",), "has no column 'index'"),
        (("train.kappa=-1",), "kappa"),
    ],
)
def test_what_cannot_be_is_explained(demos, tmp_path, words, sentence, capsys):
    assert weighted(demos, tmp_path / "none", *(word.format(demos=demos) for word in words)) == 2
    assert sentence in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "none").exists()


def test_the_progress_of_another_dataset_is_refused(demos, tmp_path, capsys):
    ends = np.array([5, 9])
    write_progress(tmp_path / "other.parquet", np.ones(9), starts=np.array([0, 5]), ends=ends, source="test")
    assert train(demos, tmp_path / "none", f"train.weights={tmp_path / 'other.parquet'}") == 2
    assert "is of another dataset: it has 9 frames in 2 episodes" in " ".join(capsys.readouterr().err.split())


def test_a_policy_without_a_loss_per_sample_is_refused(demos, tmp_path, monkeypatch, capsys):
    class Mean(torch.nn.Module):
        def forward(self, batch):
            raise AssertionError("it is refused before")

    monkeypatch.setattr(train_module, "build", lambda *_: Mean())
    assert weighted(demos, tmp_path / "none") == 2
    assert "Mean gives no loss per sample" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_the_example_of_the_docs_runs(demos, tmp_path, monkeypatch):
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "demos").symlink_to(demos)
    monkeypatch.chdir(tmp_path)
    section = PAGE.partition("## Weighted demonstrations")[2].partition("\n## ")[0]
    kept = (demos / PROGRESS_FILE).read_bytes()
    (code,) = re.findall(r"```python\n(.+?)```", section, re.DOTALL)
    exec(compile(code, "docs/policies.md", "exec"), {})
    for line in re.findall(r"^    uv run robolearn (.+)$", section, re.MULTILINE):
        assert main([*line.split(), *TOY, *BUDGET]) == 0
    (demos / PROGRESS_FILE).write_bytes(kept)
    assert differ(Path("outputs/weighted"), Path("outputs/rising"))
