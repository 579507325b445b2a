"""The verbs with a policy that reads an instruction, at toy sizes."""

import json

import numpy as np
import pytest

from robolearn.cli import main
from robolearn.commands.common import load_checkpoint
from robolearn.data.dataset import EpisodeDataset
from robolearn.real.bundle import load_bundle
from robolearn.sim.tasks.sort import SORT

ENV = ("task=sort", "env.num_envs=2", "env.threads=1")
SHORT = (*ENV, "task.max_episode_steps=6")
SIZES = ("policy.hidden_dim=16", "policy.num_blocks=1", "policy.condition_dim=16", "policy.language_dim=8")
BUDGET = ("train.steps=4", "train.batch_size=16", "train.device=cpu")
CAMERA = "observation.images.external"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Demonstrations, a policy on state and one that also sees."""
    out = tmp_path_factory.mktemp("language")
    pictures = ("env.cameras=[external]", "env.image_size=24", "video=false")
    assert main(["collect", "num_episodes=2", *ENV, *pictures, "expert.noise=0", f"out={out / 'demos'}"]) == 0
    words = ("train", "policy=vla", f"dataset={out / 'demos'}", *SIZES, *BUDGET)
    state = "observations=[observation.state,observation.environment_state]"
    assert main([*words, state, f"out={out / 'state'}"]) == 0
    seen = f"observations=[observation.state,{CAMERA}]"
    assert main([*words, seen, f"out={out / 'pictures'}"]) == 0
    return out


def evaluated(folder, out, *words):
    assert main(["eval", f"checkpoint={folder / 'state'}", "episodes=3", *SHORT, f"out={out}", *words]) == 0
    return json.loads((out / "episodes.json").read_text())


def phrases(table):
    return {phrase for row in table for phrase in row}


def test_training_reads_the_instructions_of_the_dataset(folder):
    policy, _ = load_checkpoint(folder / "state")
    assert policy.reads_task
    assert policy.policy.config.unread == {"observation.environment_state": list(range(45, 51))}
    data = EpisodeDataset.load(folder / "demos")
    seen = {key: data.channels[key][:2, None] for key in policy.schema.observation_keys}
    noise = np.zeros((2, *policy.noise_shape), np.float32)
    chunk = policy.predict_chunk({**seen, "task": np.array(data.tasks)}, noise)
    assert chunk.values.shape == (2, policy.horizon, 5)


def test_an_evaluation_says_what_was_asked_and_told(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("robolearn.commands.eval.save_strips", lambda *_, **__: [])
    results = {
        name: evaluated(folder, tmp_path / name, f"phrasings={name}") for name in ("seen", "held_out", "shuffled")
    }
    asked = [episode["instruction"] for episode in results["seen"]["episodes"]]
    assert set(asked) <= phrases(SORT.instructions)
    for name, result in results.items():
        assert (result["phrasings"], result["instruction"]) == (name, None)
        assert [episode["instruction"] for episode in result["episodes"]] == asked
    told = {name: [episode["told"] for episode in result["episodes"]] for name, result in results.items()}
    assert told["seen"] == asked
    assert set(told["held_out"]) <= phrases(SORT.held_out)
    assert set(told["shuffled"]) <= phrases(SORT.instructions)
    said = evaluated(folder, tmp_path / "said", "instruction='put the red cube into the left bin'")
    assert {episode["told"] for episode in said["episodes"]} == {"put the red cube into the left bin"}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("phrasings=other",), "unknown phrasings 'other'"),
        (("task=lift", "phrasings=shuffled"), "one thing only"),
        (("task=lift", "phrasings=held_out"), "no phrasings that are held out"),
    ],
)
def test_what_cannot_be_told_is_refused(folder, capsys, words, sentence):
    assert main(["eval", f"checkpoint={folder / 'pictures'}", "episodes=1", *SHORT[1:], *words]) == 2
    assert sentence in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.parametrize("name", ["state", pytest.param("pictures", marks=pytest.mark.slow)])
def test_a_bundle_acts_like_the_policy(folder, tmp_path, name, capsys):
    assert main(["export", "task=sort", f"checkpoint={folder / name}", f"out={tmp_path / 'bundle'}"]) == 0
    assert "largest difference" in capsys.readouterr().out.replace("\n", " ")
    bundle = load_bundle(tmp_path / "bundle")
    assert bundle.policy.reads_task
    assert bundle.instruction == SORT.instructions[0][0]
