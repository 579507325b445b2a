"""`robolearn bench rabc`: what is recovered of a gap, what is pooled and kept; what runs learn from."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from robolearn.bench import _rabc_runs as runs
from robolearn.bench import _reward_runs, _reward_sets, _rl_judge, rabc
from robolearn.bench._rabc_runs import ROWS, TASKS, Run, parts
from robolearn.bench._reward_sets import HELD_OUT
from robolearn.data.dataset import EpisodeDataset
from robolearn.data.progress import write_progress
from robolearn.errors import UserError
from robolearn.eval.results import Measure, Result

N = 20  # episodes of made-up results
RATES = {"bc": 0.4, "rabc": 0.7, "oracle": 0.8, "clean": 0.75}


@pytest.fixture
def place(monkeypatch, tmp_path):
    """An empty folder for runs and records."""
    monkeypatch.setattr(runs, "OUT", tmp_path / "runs")
    monkeypatch.setattr(runs, "RECORDS", tmp_path / "records")
    return tmp_path


def made_up(one, rates=RATES):
    weighted = {"text": "mean 0.6", "clean": 0.9, "corrupted": 0.2 + 0.1 * one.seed}
    return {
        "settings": one.settings,
        "commit": "abc",
        "ended_well": None if one.row == "clean" else 9,
        "weights": weighted if ROWS[one.row].weigher else None,
        "outcomes": [k < N * rates[one.row] for k in range(N)],
    }


def run_some(monkeypatch, rates=RATES, **narrowed):
    from robolearn.commands.common import save_result

    def finish(chosen, _):
        for one in chosen:
            save_result(one.record, made_up(one, rates))
            yield one, made_up(one, rates)

    monkeypatch.setattr(rabc, "finish_all", finish)
    monkeypatch.setattr(rabc, "prepare", lambda task, rows: f"{task}: {', '.join(sorted(rows))}")
    lines = []
    return {m.id: m for m in rabc.run(lines.append, **narrowed)}, lines


def successes(*rates, seeds=3):
    """Successes [rows, seeds, episodes] with these rates."""
    return np.array([[[k < N * rate for k in range(N)]] * seeds for rate in rates], float)


def test_a_share_of_the_gap_is_recovered():
    found = rabc.recovered("recovered.stack", [successes(0.4, 0.7, 0.8)])
    assert found.value == pytest.approx(0.75)
    assert found.baseline == 0.8
    low, high = found.interval
    assert low < 0.75 < high <= 1.0


def test_tasks_count_by_their_gaps():
    found = rabc.recovered("recovered", [successes(0.0, 0.4, 0.8), successes(0.4, 0.6, 0.6, seeds=1)])
    assert found.value == pytest.approx(0.6)  # of gaps of 0.8 and 0.2, a half and all


def test_a_gap_that_is_too_small_says_nothing():
    assert rabc.recovered("recovered", []) is None
    assert rabc.recovered("recovered", [successes(0.6, 0.9, 0.6)]) is None
    assert rabc.recovered("recovered", [successes(0.6, 0.6, 0.5)]) is None
    unsure = rabc.recovered("recovered", [successes(0.5, 0.55, 0.55, seeds=1)])
    assert unsure.value == pytest.approx(1.0)
    assert unsure.interval is None


def test_seeds_are_pooled_and_stand_beside_equal_weights(place, monkeypatch):
    found, lines = run_some(monkeypatch, tasks=["stack"])
    assert lines[0] == "stack: bc, clean, oracle, rabc"
    assert len(lines) == 1 + len(ROWS) * len(rabc.SEEDS)
    both, one = found["success.stack.rabc"], found["success.stack.rabc.seed2"]
    assert (both.value, both.baseline) == (0.7, 0.4)
    assert found["success.stack.bc"].baseline is None
    assert one.interval[0] < both.interval[0] < 0.7 < both.interval[1] < one.interval[1]
    assert found["recovered.stack"].value == found["recovered"].value == pytest.approx(0.75)
    assert found["weight.stack.oracle.corrupted"].value == pytest.approx(0.3)
    assert "weight.stack.bc.clean" not in found
    assert found["ended_well.stack"].value == 9
    assert found["finished_runs"].value == 12


def test_only_seeds_with_all_three_rows_tell_what_is_recovered(place, monkeypatch):
    run_some(monkeypatch, tasks=["stack"], seeds=[1])
    found, _ = run_some(monkeypatch, RATES | {"bc": 0.0}, tasks=["stack"], seeds=[0], algorithms=["bc"])
    assert found["recovered.stack"].value == pytest.approx(0.75)
    assert found["success.stack.bc"].value == 0.2
    found, _ = run_some(monkeypatch, tasks=["pick_place"], seeds=[0], algorithms=["bc", "rabc"])
    assert "recovered.pick_place" not in found


def test_a_kept_run_is_not_done_again(place, monkeypatch):
    from robolearn.commands.common import save_result

    one = Run("stack", "rabc", 1)
    save_result(one.record, made_up(one))
    assert runs.finish(one) == (one, made_up(one))
    assert not one.folder.exists()


def test_a_run_with_another_budget_is_not_counted(place, monkeypatch):
    run_some(monkeypatch, tasks=["stack"], seeds=[0])
    monkeypatch.setattr(runs, "FLOW", ("policy=flow", "train.steps=7"))
    found, _ = run_some(monkeypatch, tasks=["stack"], seeds=[0], algorithms=["bc"])
    assert found["finished_runs"].value == 1


def test_a_row_depends_on_what_weighs_it():
    settings = {row: Run("stack", row, 2).settings for row in ROWS}
    assert settings["rabc"]["weigher"]["words"] == ["reward=sarm", "task=stack", "seed=2"]
    assert settings["oracle"]["weigher"]["name"] == "truth"
    assert settings["bc"]["weigher"] is None
    assert settings["bc"]["weighting"] is None
    assert settings["rabc"]["weighting"] == settings["oracle"]["weighting"] == ["rabc", 0.01]
    assert [settings[row]["data"] for row in ROWS] == ["all", "all", "all", "clean"]
    assert all(one["policy"] == settings["bc"]["policy"] for one in settings.values())


@pytest.mark.parametrize("task", TASKS)
def test_half_of_the_demonstrations_go_wrong_in_all_ways(task):
    clean, *corrupted = parts(task).values()
    counts = [part.episodes for part in corrupted]
    assert clean.episodes == sum(counts) == runs.DEMONSTRATIONS
    assert max(counts) - min(counts) <= 1
    assert set(HELD_OUT) <= set(parts(task))


def test_the_table_has_a_row_for_each_training_and_says_what_was_recovered(place, monkeypatch):
    run_some(monkeypatch, tasks=["pick_place"])
    found, _ = run_some(monkeypatch, tasks=["stack"])
    result = Result("rabc", "robolearn bench rabc", "abc", {"cpu": "x"}, (0, 1, 2), tuple(found.values()))
    lines = rabc.table(result).splitlines()
    assert lines[0] == "| Training | pick_place | stack |"
    rows = {line.split("`")[1]: line for line in lines[2:] if line.startswith("| `")}
    assert list(rows) == list(ROWS)
    assert rows["rabc"].startswith("| `rabc` | 70% (57% to 80%) | 70% ")
    text = "\n".join(lines)
    assert "of the gap between `bc` and `oracle`, goal 80%: all tasks 75% (" in text
    assert "mean weight by `oracle` of clean and of corrupted frames: pick_place 0.90 and 0.30, stack" in text
    assert "50 corrupted demonstrations ended well all the same: pick_place 9, stack 9" in text
    assert "- 24 of 36 runs are finished" in lines
    assert "commit abc" in lines[-1]


def test_nothing_is_told_of_what_is_not_finished():
    result = Result("rabc", "robolearn bench rabc", "abc", {}, (0,), (Measure("finished_runs", 0, "1", 36),))
    assert "recovered" not in rabc.table(result)
    assert "- 0 of 36 runs are finished" in rabc.table(result)


@pytest.mark.parametrize(
    ("narrowed", "sentence"),
    [
        ({"tasks": ["stak"]}, "no task 'stak'; did you mean 'stack'?"),
        ({"algorithms": ["rbac"]}, "no algorithm 'rbac'; did you mean 'rabc'?"),
        ({"seeds": [9]}, "seeds are 0, 1, 2"),
    ],
)
def test_what_is_not_there_is_named(narrowed, sentence):
    with pytest.raises(UserError) as error:
        rabc.run(print, **narrowed)
    assert sentence in str(error.value)


def test_weights_are_told_by_halves(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "DEMONSTRATIONS", 1)
    starts, ends = np.array([0, 40, 70]), np.array([40, 70, 90])
    progress = np.concatenate((np.linspace(0, 1, 40), np.linspace(0.5, 0.0, 50)))
    write_progress(tmp_path / "progress.parquet", progress, starts=starts, ends=ends, source="truth")
    nothing = {"schema": None, "stage_names": (), "channels": {}, "tasks": (), "columns": {}}
    data = EpisodeDataset(root=tmp_path, starts=starts, ends=ends, **nothing)
    told = runs.weights_of(tmp_path / "progress.parquet", data)
    assert told["clean"] > 0.95
    assert told["corrupted"] < 0.1
    assert "mean" in told["text"]


@pytest.fixture
def tiny(place, monkeypatch):
    for module, name, value in [
        (runs, "DEMONSTRATIONS", 4),
        (runs, "FLOW", ("policy=flow", "policy.hidden_dim=16", "train.steps=4", "train.batch_size=8")),
        (_rl_judge, "EPISODES", 2),
        (_reward_runs, "OUT", place / "rewards"),
        (_reward_sets, "OUT", place / "rewards"),
        (_reward_sets, "TRAIN_EPISODES", 10),
    ]:
        monkeypatch.setattr(module, name, value)
    words = ("reward=sarm", "reward.hidden_dim=16", "train.steps=4", "train.batch_size=8", "validation=0.3")
    monkeypatch.setitem(_reward_runs.TRAINED, "sarm", words)
    parts.cache_clear()
    yield place
    parts.cache_clear()


@pytest.mark.slow
def test_runs_are_trained_judged_and_kept(tiny):
    runs.prepare("pick_place", {"rabc", "oracle"})
    folder = runs.demonstrations("pick_place")
    data = EpisodeDataset.load(folder / "all")
    assert data.num_episodes == 8
    assert all(data.columns["success"][:4])
    found = {row: runs.finish(Run("pick_place", row, 1))[1] for row in ("oracle", "clean")}
    assert [len(one["outcomes"]) for one in found.values()] == [2, 2]
    assert found["oracle"]["weights"]["clean"] > found["oracle"]["weights"]["corrupted"] + 0.2
    assert found["clean"]["weights"] is None
    one = Run("pick_place", "rabc", 1)
    first = runs.finish(one)
    assert (one.model.folder / "training" / "model").is_dir()
    assert runs.finish(one) == first
    one.record.unlink()
    shutil.rmtree(one.folder / "readings")
    assert runs.finish(one) == first  # by the progress that was kept


def test_runs_and_records_have_places_of_their_own():
    every = rabc._all_runs()
    assert len({one.folder for one in every}) == len({one.record for one in every}) == 36
    assert [one.seed for one in every] == sorted(one.seed for one in every)
    assert every[0].record == Path("benchmarks/results/runs/rabc/pick_place-bc-seed0.json")
