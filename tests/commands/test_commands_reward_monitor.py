"""What `train-reward` leaves for the monitor: its numbers and how good it is, and the kinds of failure."""

import json

import monitor_toys
import numpy as np
import pytest

from robolearn.cli import main
from robolearn.commands.reward_data import failures_of, footage, kinds_of, labels_of, read_schema, shares_of
from robolearn.commands.reward_monitor import Called, judge_monitor, monitor_figures
from robolearn.data.dataset import EpisodeDataset
from robolearn.language import Tokenizer
from robolearn.monitoring import FILE, Monitor, MonitorSettings
from robolearn.rewards.serving import load_estimator

SMALL = ["train.steps=10", "reward.hidden_dim=16", "train.tensorboard=false", "validation=0.5", "reward=recurrent"]


@pytest.fixture(scope="module")
def attempts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("monitored")
    words = ["collect", "task=lift", "linger=5", "success_only=false", "env.num_envs=3"]
    assert main([*words, "num_episodes=6", f"out={folder / 'good'}"]) == 0
    assert main([*words, "num_episodes=6", "expert.failure=mix", f"out={folder / 'bad'}"]) == 0
    assert main(["data", "merge", f"datasets=[{folder / 'good'},{folder / 'bad'}]", f"out={folder / 'all'}"]) == 0
    return folder


def test_a_training_leaves_a_monitor_and_its_figures(attempts, tmp_path):
    words = [f"dataset={attempts / 'all'}", f"out={tmp_path}", "reward.kinds=[auto]", *SMALL]
    assert main(["train-reward", *words]) == 0
    estimator = load_estimator(tmp_path / "model")
    data = EpisodeDataset.load(attempts / "all")
    assert estimator.model.config.kinds == kinds_of(data)
    settings = MonitorSettings.load(tmp_path / "model" / FILE)
    assert settings.num_stages == len(data.stage_names)
    assert settings.done_at == estimator.model.config.done_at
    frames = data.episode(0)
    verdict = Monitor(settings).update(estimator.update({key: v[0] for key, v in frames.items()}, data.tasks[0]))
    assert verdict.outcome == "running"
    figures = json.loads((tmp_path / "validation.json").read_text())
    assert {"failure_detection", "false_alarms", "success_recall", "kind_accuracy"} <= set(figures)
    assert all(0 <= figures[name] <= 1 for name in figures if name != "seconds_to_detection")


def test_kinds_are_those_of_failures_that_failed(attempts):
    data = EpisodeDataset.load(attempts / "all")
    provoked, succeeded = data.columns["failure"], data.columns["success"]
    kinds = failures_of(data)
    assert any(kinds)
    for kind, name, success in zip(kinds, provoked, succeeded, strict=True):
        assert kind == ("" if success else name)
    schema, labels = read_schema(data, None), labels_of(data, shares_of(data))
    some = kinds_of(data)[:1]
    films = footage(data, schema, labels, tokenizer=Tokenizer(), num_wrong=0, seed=0, kinds=some)
    expected = [["", *some].index(kind) if kind in ("", *some) else -1 for kind in kinds]
    np.testing.assert_array_equal(films.channels["kind"][data.starts], expected)
    np.testing.assert_array_equal(films.channels["kind"][data.ends - 1], expected)


def test_kinds_that_are_not_there_are_refused(attempts, tmp_path, capsys):
    words = [f"dataset={attempts / 'good'}", f"out={tmp_path}", "reward.kinds=[auto]", *SMALL]
    assert main(["train-reward", *words]) == 2
    assert "expert.failure=mix" in capsys.readouterr().err


def test_a_monitor_is_judged_on_other_episodes():
    episodes = monitor_toys.episodes(40, seed=3)
    called = judge_monitor(episodes, num_stages=3, done_at=0.6)
    assert [one.done for one in called] == [bool(one.done(3).any()) for one in episodes]
    figures = monitor_figures(called, fps=20)
    assert figures["success_precision"] == figures["success_recall"] == 1.0
    assert figures["failure_detection"] == 1.0
    assert figures["false_alarms"] <= 0.1
    assert 0.5 < figures["seconds_to_detection"] < 8.0


def test_figures_are_shares_of_what_they_say():
    called = [
        Called(done=True, success=30, rightly=True, failed=None, waited=0),
        Called(done=True, success=10, rightly=False, failed=40, waited=20),
        Called(done=False, success=10, rightly=False, failed=50, waited=30),
        Called(done=False, success=None, rightly=False, failed=60, waited=10),
        Called(done=False, success=None, rightly=False, failed=None, waited=0),
        None,
    ]
    assert monitor_figures(called, fps=10) == {
        "success_precision": pytest.approx(1 / 3),
        "success_recall": 0.5,
        "failure_detection": pytest.approx(2 / 3),
        "false_alarms": 0.5,
        "seconds_to_detection": 2.0,
    }
    assert monitor_figures([None], fps=10) == {}


def test_where_nothing_succeeded_nothing_is_judged():
    failures = [one for one in monitor_toys.episodes(10, seed=0) if not one.done(3).any()]
    assert judge_monitor(failures, num_stages=3, done_at=0.6) == [None] * len(failures)
