"""`robolearn bench crash`: that loss and difference would be seen, and that a killed command goes on."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from robolearn.bench import _kills, crash
from robolearn.bench._kills import Life, Tally, Victim, confessed, torment


class Stage:
    """Stands in for processes: lives that end as told, and a folder's content."""

    def __init__(self, monkeypatch, statuses):
        self.statuses, self.moments = iter(statuses), []
        monkeypatch.setattr(_kills, "live", self.live)

    def live(self, victim, out, *, until=None):
        self.moments.append(until)
        status = 0 if until is None else next(self.statuses)
        out.mkdir(exist_ok=True, parents=True)
        out.with_name(f"{out.name}.notes").write_text("episode 1\nepisode 3\n")
        return Life(status, 2.0, 5.0)


def perform(monkeypatch, tmp_path, statuses, *, found=3, equal=True, kills=3):
    stage = Stage(monkeypatch, statuses)
    victim = Victim(("collect",), lambda folder: found, lambda one, other: equal)
    return torment(victim, tmp_path, kills=kills, seed=0, progress=lambda line: None), stage


def test_kills_are_counted_until_there_are_enough(monkeypatch, tmp_path):
    tally, stage = perform(monkeypatch, tmp_path, [-9, -9, 0, 0, -9])
    # the third folder's last life is not disturbed; the second was finished before its moment came
    assert tally == Tally(kills=3, resumed=3, lost=0, completed=2, equal=2)
    assert stage.moments[0] is None
    assert stage.moments[-1] is None
    assert all(2.0 <= moment <= 5.0 for moment in stage.moments[1:-1])


def test_what_is_gone_or_differs_is_seen(monkeypatch, tmp_path):
    tally, _ = perform(monkeypatch, tmp_path, [-9, -9, -9], found=1, equal=False)
    assert tally == Tally(kills=3, resumed=3, lost=6, completed=1, equal=0)
    measures = {m.id: m.value for m in crash._measures("train", tally)}
    assert (measures["lost.train"], measures["equal.train"]) == (6, 0.0)


def test_a_command_that_does_not_go_on_is_seen(monkeypatch, tmp_path):
    tally, _ = perform(monkeypatch, tmp_path, [-9, 1, -9, -9])
    assert tally == Tally(kills=3, resumed=2, lost=0, completed=1, equal=1)


def test_an_undisturbed_run_that_fails_ends_the_benchmark(monkeypatch, tmp_path):
    monkeypatch.setattr(_kills, "live", lambda victim, out: Life(2, 0.0, 1.0, "no disk"))
    with pytest.raises(RuntimeError, match="`robolearn collect` returned 2: no disk"):
        torment(Victim(("collect",), len, lambda *_: True), tmp_path, kills=1, seed=0, progress=lambda line: None)


def dataset(root, *, value=1.0, rounding=0.0, extra=False):
    root.mkdir()
    pq.write_table(pa.table({"x": [value]}), root / "data.parquet")
    (root / "stats.json").write_text(json.dumps({"x": {"mean": [1.0 + rounding], "count": [3]}}))
    (root / "info.json").write_text("{}")
    if extra:
        (root / "left.tmp").write_bytes(b"half")
    return root


def test_datasets_are_compared_by_value(tmp_path):
    first = dataset(tmp_path / "first")
    assert crash.same_dataset(first, dataset(tmp_path / "alike", rounding=1e-13))
    assert not crash.same_dataset(first, dataset(tmp_path / "value", value=2.0))
    assert not crash.same_dataset(first, dataset(tmp_path / "statistics", rounding=1e-3))
    assert not crash.same_dataset(first, dataset(tmp_path / "left", extra=True))


def test_nothing_is_found_where_nothing_is(tmp_path):
    assert crash.episodes_in(tmp_path) == 0
    assert crash.step_in(tmp_path) == 0
    assert confessed(tmp_path / "out") == 0


COLLECT = ("collect", "num_episodes=4", "env.num_envs=1", "env.threads=1", "task.max_episode_steps=60")


@pytest.mark.slow
def test_a_collection_is_killed_and_goes_on(tmp_path):
    victim = Victim(COLLECT, crash.episodes_in, crash.same_dataset)
    tally = torment(victim, tmp_path, kills=2, seed=1, progress=lambda line: None)
    assert tally.kills == tally.resumed == 2
    assert tally.lost == 0
    assert tally.equal == tally.completed >= 1
    assert confessed(tmp_path / "whole") == crash.episodes_in(tmp_path / "whole") == 4


@pytest.mark.slow
def test_a_training_is_killed_and_goes_on(tmp_path):
    assert _kills.live(Victim(COLLECT, len, lambda *_: True), tmp_path / "demos").status == 0
    words = ("train", f"dataset={tmp_path / 'demos'}", *crash.TRAINING, "train.steps=60", "train.save_every=5")
    victim = Victim(words, crash.step_in, crash.same_weights)
    tally = torment(victim, tmp_path, kills=2, seed=1, progress=lambda line: None)
    assert tally.kills == tally.resumed == 2
    assert tally.lost == 0
    assert tally.equal == tally.completed >= 1
    assert confessed(tmp_path / "whole") == crash.step_in(tmp_path / "whole") == 60
