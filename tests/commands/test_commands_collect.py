"""`robolearn collect`: what it writes, that a killed run goes on, and that workers change nothing."""

import json

import numpy as np
import pytest
from killing import collect_two_episodes

from robolearn.cli import main
from robolearn.commands import attempts as attempts_module
from robolearn.commands import collect as collect_module
from robolearn.data import layout
from robolearn.data.check import check_dataset
from robolearn.data.dataset import EpisodeDataset
from robolearn.data.merge import merge
from robolearn.errors import UserError
from robolearn.sim.backends.mujoco import MujocoVecEnv
from robolearn.sim.tasks.lift import LIFT

TOY = ("env.num_envs=2", "env.threads=1", "expert.noise=0.3", "seed=7")


def collect(out, *words, num_episodes=3):
    return main(["collect", *TOY, f"num_episodes={num_episodes}", f"out={out}", *words])


def same(a, b):
    assert (a / "collect.json").read_bytes() == (b / "collect.json").read_bytes()
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
    assert data.columns["failure"] == [""] * 3
    seeds = data.columns["seed"]
    assert seeds == sorted(set(seeds))
    assert seeds[0] >= 7
    assert data.stage_names == ("reach", "grasp", "lift")
    for k in range(3):
        episode = data.episode(k)
        assert set(episode["observation.stage"].ravel().tolist()) == {0, 1, 2}
        assert (np.abs(episode["action"]) <= data.schema.action.high).all()
    assert set(data.tasks) <= set(LIFT.instructions[0])


def test_progress_is_that_of_the_frame_before_its_action(demos):
    data, env = EpisodeDataset.load(demos), MujocoVecEnv("lift", autoreset=False)
    assert data.schema[layout.PROGRESS] == layout.PROGRESS_FEATURE
    assert layout.PROGRESS not in data.schema.observation_keys
    assert layout.PROGRESS not in data.windows(2, 4).channels
    for k in range(3):
        episode = data.episode(k)
        _, info = env.reset(seed=[data.columns["seed"][k]])
        for stage, progress, action in zip(
            episode[layout.STAGE], episode[layout.PROGRESS], episode["action"], strict=True
        ):
            np.testing.assert_array_equal(progress, np.float32(info["progress"]))
            assert stage[0] == int(progress[0] * len(data.stage_names))
            *_, info = env.step(action[None])
        assert info["progress"] == 1.0
        assert 0.5 < episode[layout.PROGRESS][-1] < 1.0
    env.close()
    assert [finding for finding in check_dataset(demos) if finding.channel == layout.PROGRESS] == []


def before_there_was_progress(monkeypatch, out):
    """Collect two of three episodes as it was done before progress was recorded."""
    with monkeypatch.context() as patch:
        patch.setattr(collect_module, "_channels", lambda observed, out: observed)
        collect_two_episodes(patch, collect, out)
    settings = json.loads((out / "settings.json").read_text())
    assert settings["expert"] == {"kind": "scripted", "noise": 0.3, "failure": None, "checkpoint": None}


def test_a_dataset_from_before_progress_was_recorded_goes_on_without(demos, tmp_path, monkeypatch):
    out = tmp_path / "old"
    before_there_was_progress(monkeypatch, out)
    assert collect(out) == 0
    old, new = EpisodeDataset.load(out), EpisodeDataset.load(demos)
    assert set(new.channels) - set(old.channels) == {layout.PROGRESS}
    assert old.columns == new.columns
    for key, values in old.channels.items():
        np.testing.assert_array_equal(values, new.channels[key])
    merge([out, out], tmp_path / "twice")
    assert EpisodeDataset.load(tmp_path / "twice").num_episodes == 6
    with pytest.raises(UserError, match=r"channel 'privileged\.progress' is there in addition"):
        merge([out, demos], tmp_path / "both")
    merge([demos, demos], tmp_path / "both")
    assert layout.PROGRESS in EpisodeDataset.load(tmp_path / "both").channels


def test_varied_demonstrations_are_longer_and_known_by_their_settings(demos, tmp_path, capsys):
    out, words = tmp_path / "varied", ("expert=varied", "expert.speed=[0.5,0.6]", "task.max_episode_steps=200")
    assert collect(out, *words) == 0
    told, plain = (json.loads((folder / "collect.json").read_text()) for folder in (out, demos))
    assert told["mean_length"] > 1.3 * plain["mean_length"]
    expert = json.loads((out / "settings.json").read_text())["expert"]
    assert {"speed": [0.5, 0.6], "pauses": 2, "drop": 0.3}.items() <= expert.items()
    assert "stop" not in expert
    before = {path: path.read_bytes() for path in out.rglob("*.parquet")}
    assert collect(out, *words) == 0
    assert {path: path.read_bytes() for path in out.rglob("*.parquet")} == before
    assert collect(out, *words, "expert.pauses=1") == 2
    assert collect(demos, "expert.speed=[0.5,0.6]") == 2
    assert capsys.readouterr().err.count("was begun with expert=") == 2


def test_it_keeps_failures_too_when_asked(tmp_path):
    out = tmp_path / "all"
    assert collect(out, "success_only=false", "expert.noise=0.6", num_episodes=6) == 0
    data = EpisodeDataset.load(out)
    assert data.columns["seed"] == list(range(7, 13))
    assert set(data.columns["success"]) == {True, False}
    told = json.loads((out / "collect.json").read_text())
    assert (told["episodes"], told["attempts"], told["successes"]) == (6, 6, sum(data.columns["success"]))


def test_it_tells_how_good_the_demonstrations_are(demos, capsys):
    data, told = EpisodeDataset.load(demos), json.loads((demos / "collect.json").read_text())
    attempts = data.columns["seed"][-1] + 1 - 7
    assert (told["episodes"], told["attempts"], told["successes"]) == (3, attempts, 3)
    low, high = told["success_interval"]
    assert 0 < low < told["success_rate"] <= high <= 1
    assert told["mean_length"] == data.num_frames / 3
    assert sum(told["instructions"].values()) == 3
    assert told["joint_jerk"] > 0
    assert told["tool_jerk"] > 0
    assert collect(demos) == 0
    shown = capsys.readouterr().out
    assert f"3 episodes of {attempts} attempts in" in shown.replace("\n", " ")
    assert "mean squared jerk: joints" in shown


def test_failures_on_purpose_are_named_and_judged_by_the_task(tmp_path):
    out = tmp_path / "failures"
    words = ("task=stack", "expert.failure=mix", "success_only=false", "expert.noise=0", "env.num_envs=8")
    assert collect(out, *words, num_episodes=16) == 0
    data, told = EpisodeDataset.load(out), json.loads((out / "collect.json").read_text())
    kinds, judged = data.columns["failure"], data.columns["success"]
    assert len(set(kinds)) > 3
    assert set(judged) == {True, False}
    for kind in set(kinds):
        outcomes = [success for k, success in zip(kinds, judged, strict=True) if k == kind]
        assert told["failures"][kind] == {"episodes": len(outcomes), "successes": sum(outcomes)}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("expert.failure=slip",), "expert.failure=slip is there to fail: add success_only=false"),
        (("expert.failure=slpi", "success_only=false"), "unknown expert.failure 'slpi'; did you mean 'slip'?"),
        (("expert=teacher", "expert.failure=slip", "success_only=false"), "only scripts fail on purpose"),
        (("expert=teacher", "expert.drop=0.3", "expert.pauses=1"), "vary: give expert=scripted for expert.pauses=1"),
        (("expert.speed=[1,0.4]",), "expert.speed=[1.0, 0.4] is no range of speeds: give two rising numbers"),
        (("expert.speed=[0.4]",), "expert.speed=[0.4] is no range of speeds"),
        (("expert.drop=2",), "expert.drop=2.0 is too large: give at most 1"),
        (("expert.pauses=-1",), "expert.pauses=-1 is too small: give at least 0"),
        (("randomization.mass=[2,1]",), "randomization.mass=[2.0, 1.0] is an impossible range: 2 is above 1"),
        (("randomization.latency=[-1,1]",), "randomization.latency=[-1, 1] is impossible"),
        (("randomization.mas=[1,2]",), "unknown option 'randomization.mas'; did you mean 'randomization.mass'?"),
    ],
)
def test_what_cannot_be_is_explained(tmp_path, words, sentence, capsys):
    assert collect(tmp_path / "none", *words) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_randomised_episodes_begin_like_plain_ones(demos, tmp_path):
    quiet = ("randomization=light", "randomization.joint_noise=null", "randomization.size=null")
    quiet += ("randomization.position_noise=null", "randomization.rotation_noise=null", "expert.noise=0")
    starts = []
    for words in ((), quiet):
        out = tmp_path / f"with{len(words)}"
        assert collect(out, "success_only=false", *words, num_episodes=3) == 0
        data = EpisodeDataset.load(out)
        starts.append([data.episode(k)["observation.environment_state"][0] for k in range(3)])
    np.testing.assert_array_equal(*starts)


def test_it_does_not_depend_on_num_envs(demos, tmp_path):
    assert collect(tmp_path / "one", "env.num_envs=1") == 0
    same(demos, tmp_path / "one")


def test_it_does_not_depend_on_workers(demos, tmp_path):
    assert collect(tmp_path / "two", "workers=2", "env.num_envs=1") == 0
    same(demos, tmp_path / "two")


@pytest.mark.slow
def test_an_error_in_a_worker_is_told_like_one_in_this_process(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(collect_module, "Scenario", ForgetfulScenario)
    assert collect(tmp_path / "none", "workers=2") == 2
    assert "robolearn: unknown expert.kind 'scriptde'; did you mean 'scripted'?" in capsys.readouterr().err


class ForgetfulScenario(attempts_module.Scenario):
    """Finds its expert's name wrong, but only in a worker."""

    def make(self):
        import multiprocessing

        if multiprocessing.parent_process() is not None:
            self.expert.kind = "scriptde"
        return super().make()


def test_a_killed_run_goes_on_to_the_same_dataset(demos, tmp_path, monkeypatch):
    out = tmp_path / "killed"
    collect_two_episodes(monkeypatch, collect, out)
    assert EpisodeDataset.load(out).num_episodes == 2
    assert collect(out) == 0
    same(demos, out)


def test_a_finished_run_is_left_as_it_is(demos, monkeypatch):
    monkeypatch.setattr(collect_module, "_write", lambda *_: pytest.fail("an episode was written"))
    before = {path: path.read_bytes() for path in demos.rglob("*.parquet")}
    assert collect(demos) == 0
    assert {path: path.read_bytes() for path in demos.rglob("*.parquet")} == before


def test_more_episodes_are_added(demos, tmp_path):
    out = tmp_path / "more"
    collect(out, num_episodes=2)
    collect(out, num_episodes=3)
    same(demos, out)


def test_an_expert_that_never_succeeds_is_given_up(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(collect_module, "FRUITLESS", 5)
    assert collect(tmp_path / "none", "expert.noise=50", "task.max_episode_steps=20") == 2
    assert "times in a row: lower expert.noise" in capsys.readouterr().err


def test_an_unknown_expert_is_named(tmp_path, capsys):
    assert collect(tmp_path / "none", "expert.kind=scriptde") == 2
    assert "unknown expert.kind 'scriptde'; did you mean 'scripted'?" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["expert.noise=0.1", "success_only=false", "seed=8"])
def test_another_setting_is_refused_in_the_same_folder(demos, word, capsys):
    assert collect(demos, word) == 2
    message = capsys.readouterr().err
    assert f"was begun with {word.partition('=')[0].partition('.')[0]}=" in message
    assert "another out=FOLDER" in message
    assert EpisodeDataset.load(demos).num_episodes == 3
