"""`robolearn collect`: what it writes, and that a killed run goes on."""

import numpy as np
import pytest

from robolearn.cli import main
from robolearn.commands import collect as collect_module
from robolearn.data.dataset import EpisodeDataset
from robolearn.sim.tasks.lift import LIFT

TOY = ("env.num_envs=2", "env.threads=1", "expert.noise=0.3", "seed=7")


def collect(out, *words, episodes=3):
    return main(["collect", *TOY, f"episodes={episodes}", f"out={out}", *words])


def same(a, b):
    a, b = EpisodeDataset.load(a), EpisodeDataset.load(b)
    assert a.columns == b.columns
    assert a.tasks == b.tasks
    assert a.channels.keys() == b.channels.keys()
    for key, values in a.channels.items():
        np.testing.assert_array_equal(values, b.channels[key])


@pytest.fixture(scope="module")
def demos(tmp_path_factory):
    out = tmp_path_factory.mktemp("collect") / "demos"
    assert collect(out) == 0
    return out


def test_it_keeps_the_first_successes(demos):
    data = EpisodeDataset.load(demos)
    assert data.num_episodes == 3
    assert data.columns["success"] == [True] * 3
    seeds = data.columns["seed"]
    assert seeds == sorted(set(seeds))
    assert seeds[0] >= 7
    assert data.stage_names == ("reach", "grasp", "lift")
    for k in range(3):
        episode = data.episode(k)
        assert set(episode["observation.stage"].ravel().tolist()) == {0, 1, 2}
        assert (np.abs(episode["action"]) <= data.schema.action.high).all()
    assert set(data.tasks) <= set(LIFT.instructions[0])


def test_it_does_not_depend_on_num_envs(demos, tmp_path):
    assert collect(tmp_path / "one", "env.num_envs=1") == 0
    same(demos, tmp_path / "one")


def test_a_killed_run_goes_on_to_the_same_dataset(demos, tmp_path, monkeypatch):
    out = tmp_path / "killed"
    write = collect_module._write

    def kill_before_the_third(writer, env, episode):
        if writer.num_episodes == 2:
            raise KeyboardInterrupt
        write(writer, env, episode)

    with monkeypatch.context() as patch:
        patch.setattr(collect_module, "_write", kill_before_the_third)
        assert collect(out) == 130
    assert EpisodeDataset.load(out).num_episodes == 2
    assert collect(out) == 0
    same(demos, out)


def test_a_finished_run_is_left_as_it_is(demos, capsys, monkeypatch):
    monkeypatch.setattr(collect_module, "_write", lambda *_: pytest.fail("an episode was written"))
    before = {path: path.stat().st_size for path in demos.rglob("*.parquet")}
    assert collect(demos) == 0
    assert {path: path.stat().st_size for path in demos.rglob("*.parquet")} == before
    assert "3 successful episodes of" in capsys.readouterr().out.replace("\n", " ")


def test_more_episodes_are_added(demos, tmp_path):
    out = tmp_path / "more"
    collect(out, episodes=2)
    collect(out, episodes=3)
    same(demos, out)


def test_an_expert_that_never_succeeds_is_given_up(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(collect_module, "FRUITLESS", 5)
    assert collect(tmp_path / "none", "expert.noise=50", "task.max_episode_steps=20") == 2
    assert "times in a row: lower expert.noise" in capsys.readouterr().err


def test_an_unknown_expert_is_named(tmp_path, capsys):
    assert collect(tmp_path / "none", "expert.kind=scriptde") == 2
    assert "unknown expert.kind 'scriptde'; did you mean 'scripted'?" in capsys.readouterr().err


def test_another_noise_is_refused_in_the_same_folder(demos, capsys):
    assert collect(demos, "expert.noise=0.1") == 2
    message = capsys.readouterr().err
    assert "was begun with expert=" in message
    assert "another out=FOLDER" in message
    assert EpisodeDataset.load(demos).num_episodes == 3
