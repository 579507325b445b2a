"""`robolearn annotate`: stages from turns in the channels or from a reward model, and progress beside them."""

import re

import numpy as np
import pytest
import torch
from tiny_lerobot_rewards import CAMERA, STATE, write_sarm, write_topreward

from robolearn.cli import main
from robolearn.commands import readings
from robolearn.data import layout
from robolearn.data.dataset import EpisodeDataset, ImageOptions
from robolearn.data.progress import PROGRESS_FILE, read_progress
from robolearn.data.writer import DatasetWriter
from robolearn.rewards.labels import steady
from robolearn.rewards.sarm.modeling_sarm import build
from robolearn.rewards.serving import TorchEstimator, load_estimator, save_estimator
from robolearn.schema import Feature, Schema

BOUNDARY = 2.5  # frames: mean distance of a subgoal from the simulator's nearest change of stage; measured: 1.8
STAGES = ["near", "middle", "far"]
LENGTHS = (24, 30, 18)


@pytest.fixture(scope="module")
def demos(tmp_path_factory):
    """Simulated successes."""
    out = tmp_path_factory.mktemp("annotate") / "demos"
    words = ("task=pick_place", "num_episodes=12", "env.num_envs=6", "env.threads=1", "expert.noise=0")
    assert main(["collect", *words, f"out={out}"]) == 0
    return out


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A dataset without stages, with pictures."""
    root = tmp_path_factory.mktemp("annotate") / "plain"
    vector = {"names": ("a", "b", "c"), "unit": ("m",) * 3}
    features = {
        STATE: Feature("float32", (3,), role="observation", **vector),
        CAMERA: Feature("image", (64, 64, 3), ("height", "width", "channels"), ("1",) * 3, "observation"),
        "action": Feature("float32", (1,), ("x",), ("1",), "action", (-1.0,), (1.0,)),
    }
    writer = DatasetWriter(root, Schema(features, fps=20), robot_type="panda")
    rng = np.random.default_rng(0)
    for length in LENGTHS:
        t = np.linspace(0, 1, length)[:, None]
        frames = {
            STATE: np.concatenate((t, np.abs(t - 0.5), rng.normal(size=(length, 1))), axis=1).astype(np.float32),
            CAMERA: np.broadcast_to((200 * t).astype(np.uint8)[:, :, None, None], (length, 64, 64, 3)).copy(),
            "action": np.zeros((length, 1), np.float32),
        }
        writer.add_episode(frames, task="go", success=True)
    writer.finalize()
    return root


@pytest.fixture(scope="module")
def model(plain, tmp_path_factory):
    """A reward model that reads both channels of `plain`, the pictures at half their size; its weights are random."""
    folder = tmp_path_factory.mktemp("model") / "out"
    data = EpisodeDataset.load(plain, images=ImageOptions(size=(32, 32)))
    torch.manual_seed(0)
    size = {"hidden_dim": 16, "vision_dim": 8, "language_dim": 8, "window": 3, "gap": 1}
    size |= {"num_blocks": 1, "num_heads": 2}
    network = build(data.schema, stage_names=STAGES, shares=[0.2, 0.3, 0.5], **size)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2)
    save_estimator(folder / "model", TorchEstimator(network, data.schema, data.statistics))
    return folder


def annotate(root, with_, *words):
    return main(["annotate", f"dataset={root}", f"with={with_}", *map(str, words)])


def said_by(model, plain):
    """Stages and progress of all frames, by the model itself."""
    data = EpisodeDataset.load(plain, images=ImageOptions(size=(32, 32)))
    estimator = load_estimator(model / "model")
    told = []
    for a, b in zip(data.starts, data.ends, strict=True):
        frames = {STATE: data.channels[STATE][a:b], CAMERA: data.images[CAMERA].take(np.arange(a, b))}
        told.append(estimator.episode(frames, "go"))
    stages = [reading.stages.argmax(-1).numpy() for reading in told]
    assert len({int(stage) for one in stages for stage in one}) > 1
    return stages, np.concatenate([reading.progress.numpy() for reading in told])


def progress_of(root):
    data = EpisodeDataset.load(root)
    return read_progress(root / PROGRESS_FILE, starts=data.starts, ends=data.ends)


def test_turns_of_a_scripted_expert_lie_near_changes_of_the_simulators_stage(demos, tmp_path, capsys):
    """Nearer than the boundaries of as many equally long stages, which know nothing."""
    assert annotate(demos, "decompose", f"out={tmp_path / 'out'}", "overwrite=true") == 0
    said = re.search(r"(\d) stages, of all frames stage_1 \d+%", capsys.readouterr().out)
    truth, found = EpisodeDataset.load(demos), EpisodeDataset.load(tmp_path / "out")
    assert found.stage_names == tuple(f"stage_{k + 1}" for k in range(int(said[1])))
    assert layout.PROGRESS not in found.channels
    ours, even = [], []
    for i in range(truth.num_episodes):
        stage, true = (data.episode(i)[layout.STAGE][:, 0] for data in (found, truth))
        assert stage[0] == 0
        assert stage[-1] == len(found.stage_names)
        assert (np.diff(stage) >= 0).all()
        changes = np.flatnonzero(np.diff(true)) + 1
        turns = np.searchsorted(stage, np.arange(1, len(found.stage_names)))
        ours += [np.abs(changes - turn).min() for turn in turns]
        spread = np.linspace(0, len(stage) - 1, len(turns) + 2)[1:-1]
        even += [np.abs(changes - place).min() for place in spread]
    assert np.mean(ours) <= BOUNDARY
    assert np.mean(ours) < 0.9 * np.mean(even)


def test_channels_can_be_chosen(demos, tmp_path, capsys):
    out = tmp_path / "out"
    words = (f"out={out}", "overwrite=true", "min_gap=0.2")
    assert annotate(demos, "decompose", *words, "observations=[observation.environment_state]") == 0
    assert EpisodeDataset.load(out).num_episodes == 12
    assert annotate(demos, "decompose", f"out={tmp_path / 'other'}", "overwrite=true", "observations=[action]") == 2
    assert "has no observed vector 'action'" in capsys.readouterr().err
    assert annotate(demos, "decompose", f"out={tmp_path / 'other'}", "overwrite=true", "min_gap=5") == 2
    assert "no turn that lasts: lower min_gap" in capsys.readouterr().err


def test_a_model_annotates_a_copy_and_its_progress_lies_beside(plain, model, tmp_path):
    out = tmp_path / "out"
    assert annotate(plain, model, f"out={out}", "flicker=0.1") == 0
    stages, progress = said_by(model, plain)
    copy = EpisodeDataset.load(out)
    assert copy.stage_names == tuple(STAGES)
    expected = np.concatenate([steady(stage, 2) for stage in stages])
    np.testing.assert_array_equal(copy.channels[layout.STAGE][:, 0], expected)
    np.testing.assert_allclose(progress_of(out), progress, atol=1e-6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]  # nothing is left behind


def test_progress_alone_goes_into_the_dataset(plain, model, tmp_path, capsys):
    root = copy_of(plain, tmp_path)
    assert annotate(root, model) == 0
    np.testing.assert_allclose(progress_of(root), said_by(model, plain)[1], atol=1e-6)
    assert not (root / "meta/temporal_proportions_dense.json").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [root.name]
    assert annotate(root, model) == 2
    assert "exists: give overwrite=true to replace it" in capsys.readouterr().err
    (root / PROGRESS_FILE).write_bytes(b"")
    assert annotate(root, model, "overwrite=true") == 0
    assert len(progress_of(root)) == sum(LENGTHS)


def test_a_policy_is_trained_by_it(plain, model, tmp_path):
    root = copy_of(plain, tmp_path)
    assert annotate(root, model) == 0
    words = (f"train.weights={root / PROGRESS_FILE}", "train.kappa=0", "train.steps=3", "train.batch_size=8")
    size = ("policy=flow", "policy.hidden_dim=16", "policy.num_blocks=1", "policy.condition_dim=16")
    options = (*words, *size, "train.device=cpu", f"observations=[{STATE}]", f"out={tmp_path / 'policy'}")
    assert main(["train", f"dataset={root}", *options]) == 0


def test_a_killed_run_goes_on(plain, model, tmp_path, monkeypatch):
    out, read = tmp_path / "out", []
    frames = readings._frames

    def dying(data, keys, episode):
        if len(read) == 2:
            raise KeyboardInterrupt
        read.append(episode)
        return frames(data, keys, episode)

    monkeypatch.setattr(readings, "_frames", dying)
    assert annotate(plain, model, f"out={out}") == 130
    assert not out.exists()
    read = []
    assert annotate(plain, model, f"out={out}") == 0
    assert read == [2]
    np.testing.assert_allclose(progress_of(out), said_by(model, plain)[1], atol=1e-6)


def test_readings_of_another_model_are_not_taken(plain, model, tmp_path, monkeypatch):
    out, other = tmp_path / "out", tmp_path / "other"
    monkeypatch.setattr("robolearn.commands.annotate.annotate", raiser(KeyboardInterrupt()))
    assert annotate(plain, model, f"out={out}") == 130
    monkeypatch.undo()
    estimator = load_estimator(model / "model")
    estimator.model.config.shares = [0.5, 0.3, 0.2]
    save_estimator(other, estimator)
    assert annotate(plain, other, f"out={out}") == 0
    assert np.abs(progress_of(out) - said_by(model, plain)[1]).max() > 0.01


def raiser(error):
    def run(*arguments, **options):
        raise error

    return run


def copy_of(root, folder):
    """A dataset that may be written into."""
    import shutil

    return shutil.copytree(root, folder / "own")


def test_lerobots_sarm_annotates(plain, tmp_path):
    write_sarm(tmp_path / "run" / "checkpoints" / "last" / "pretrained_model")
    out = tmp_path / "out"
    assert annotate(plain, tmp_path / "run", f"out={out}", "flicker=0") == 0
    copy = EpisodeDataset.load(out)
    assert copy.stage_names == ("reach", "lift", "place")
    progress = progress_of(out)
    before = np.array([0.0, 0.5, 0.8, 1.0])  # shares of its stages
    stage = copy.channels[layout.STAGE][:, 0].astype(int)
    assert (progress >= before[stage] - 1e-5).all()
    assert (progress <= before[stage + 1] + 1e-5).all()
    assert len(np.unique(progress)) > 10


def test_a_model_without_stages_gives_progress_alone(plain, tmp_path, capsys):
    folder, root = write_topreward(tmp_path / "model"), copy_of(plain, tmp_path)
    assert annotate(root, folder, f"out={tmp_path / 'out'}") == 2
    assert "knows of no stages: give out=null" in capsys.readouterr().err
    assert annotate(root, folder) == 0
    progress = progress_of(root)
    assert ((progress > 0) & (progress < 1)).all()
    assert len(np.unique(progress)) > 10


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("decompose",), "written into a copy: give out=FOLDER"),
        (("decompos", "out=o"), "there is no folder 'decompos'"),
        (("{tmp}", "out=o"), "holds no reward model"),
        (("decompose", "out={plain}"), "exists already"),
    ],
)
def test_a_mistake_is_one_sentence(plain, tmp_path, words, sentence, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert annotate(plain, *(word.format(tmp=tmp_path, plain=plain) for word in words)) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert len(said.splitlines()) == 1


def test_stages_are_not_replaced_unasked(demos, model, tmp_path, capsys):
    assert annotate(demos, "decompose", f"out={tmp_path / 'out'}") == 2
    assert "has stages (reach, grasp, lift, carry, place, release)" in capsys.readouterr().err
    assert annotate(demos, model, f"out={tmp_path / 'out'}", "overwrite=true") == 2
    assert f"has no channel '{CAMERA}', which the model reads" in capsys.readouterr().err
