"""`robolearn bench policies`: what is pooled and compared; that runs are trained, judged and kept."""

import dataclasses
import shutil

import numpy as np
import pytest

from robolearn.bench import _policy_runs as runs
from robolearn.bench import policies
from robolearn.bench._policy_runs import TRAININGS, Run
from robolearn.cli import main
from robolearn.errors import UserError
from robolearn.eval.results import Result

RATES = {"flow": 0.5, "flow.execute_4": 0.75, "flow_moh": 1.0, "lerobot_act": 0.25, "lerobot_act.execute_16": 0.75}


@pytest.fixture
def place(monkeypatch, tmp_path):
    """An empty folder for runs, and another for the picture."""
    monkeypatch.setattr(runs, "OUT", tmp_path / "runs")
    monkeypatch.setattr(runs, "RECORDS", tmp_path / "records")
    monkeypatch.setattr(policies, "PLOT", tmp_path / "images" / "policies.png")
    (tmp_path / "images").mkdir()
    return tmp_path


def made_up(one):
    """A result with `RATES`, kept as `finish` keeps it; the second seed's successes come last."""
    outcomes = {name: [k < 4 * RATES.get(name, 0.0) for k in range(4)] for name in TRAININGS[one.training].ways}
    return {"settings": one.settings, "commit": "abc", "outcomes": outcomes}


def run_some(monkeypatch, **narrowed):
    from robolearn.commands.common import save_result

    def finish(chosen, _):
        for one in chosen:
            save_result(one.record, made_up(one))
            yield one, made_up(one)

    monkeypatch.setattr(policies, "finish_all", finish)
    monkeypatch.setattr(policies, "demonstrations", lambda task: task)
    lines = []
    return {m.id: m for m in policies.run(lines.append, **narrowed)}, lines


def test_ours_stand_beside_the_best_of_lerobots_and_seeds_are_pooled(place, monkeypatch):
    found, lines = run_some(monkeypatch, tasks=["stack"])
    both = found["success.stack.flow"]
    assert (both.value, both.baseline) == (0.5, 0.75)
    assert found["success.stack.lerobot_act"].baseline is None
    one = found["success.stack.flow.seed2"]
    assert one.interval[0] < both.interval[0] < 0.5 < both.interval[1] < one.interval[1]
    mixture = found["mixture_beside_best_single.stack"]
    assert (mixture.value, mixture.baseline) == (1.0, 0.75)
    assert len(lines) == 1 + 3 * len(TRAININGS)
    assert (place / "images" / "policies.png").stat().st_size > 1000


def test_the_measures_are_of_all_that_is_finished(place, monkeypatch):
    run_some(monkeypatch, tasks=["push"], policies=["flow"])
    found, _ = run_some(monkeypatch, tasks=["stack"], seeds=[1], policies=["flow", "flow_moh"])
    assert found["success.push.flow"].baseline is None
    assert {"success.stack.flow.seed1", "success.push.flow.seed0"} <= set(found)
    assert not any("seed0" in i and "stack" in i for i in found)


def test_a_run_with_another_budget_is_not_counted(place, monkeypatch):
    run_some(monkeypatch, tasks=["push"], policies=["flow"])
    monkeypatch.setattr(runs, "STEPS", 7)
    found, _ = run_some(monkeypatch, tasks=["push"], policies=["flow_moh"])
    assert not any(i.startswith("success.push.flow.") for i in found)


def test_the_readme_has_a_row_for_each_policy(place, monkeypatch):
    found, _ = run_some(monkeypatch, tasks=["stack", "push"])
    result = Result("policies", "robolearn bench policies", "abc", {"cpu": "x"}, (0,), tuple(found.values()))
    lines = policies.table(result).splitlines()
    assert lines[0] == "| Policy | stack | push |"
    rows = {line.split("`")[1]: line for line in lines[2:] if line.startswith("| `")}
    assert set(rows) == {name for training in TRAININGS.values() for name in training.ways}
    assert rows["flow_moh"].startswith("| `flow_moh` | 100% (76% to 100%) | 100% (51% to 100%) |")
    assert "commit abc" in lines[-1]


def test_the_readmes_table_is_that_of_the_benchmark(place, monkeypatch):
    found, _ = run_some(monkeypatch, tasks=["stack"])
    result = Result("policies", "robolearn bench policies", "abc", {"cpu": "x"}, (0,), tuple(found.values()))
    monkeypatch.chdir(place)
    result.save(place / "benchmarks" / "results" / "policies.json")
    (place / "README.md").write_text("<!-- bench:policies -->\n<!-- /bench -->\n")
    assert main(["bench", "--readme"]) == 0
    assert policies.table(result) in (place / "README.md").read_text()


@pytest.mark.parametrize(
    ("narrowed", "sentence"),
    [
        ({"tasks": ["stak"]}, "no task 'stak'; did you mean 'stack'?"),
        ({"policies": ["flow_mho"]}, "no policy 'flow_mho'; did you mean 'flow_moh'?"),
        ({"seeds": [9]}, "seeds are 0, 1, 2"),
        ({"tasks": ["push"], "seeds": [1]}, "no such run"),
    ],
)
def test_what_is_not_there_is_named(narrowed, sentence):
    with pytest.raises(UserError) as error:
        policies.run(lambda line: None, **narrowed)
    assert sentence in str(error.value)


def test_other_benchmarks_take_no_such_option(tmp_path, capsys):
    assert main(["bench", "sim", "tasks=[stack]", f"out={tmp_path / 'x.json'}"]) == 2
    assert "`bench sim` has no option 'tasks'" in capsys.readouterr().err


def test_every_policy_is_named_once_and_the_compared_ones_exist():
    names = [name for training in TRAININGS.values() for name in training.ways]
    assert len(names) == len(set(names))
    assert {*policies.SHOWN, *policies.SINGLE, policies.MIXTURE} <= set(names)


@pytest.fixture
def tiny(place, monkeypatch):
    for name, value in {"DEMONSTRATIONS": 2, "EPISODES": 2, "STEPS": 4, "BATCH_SIZE": 8, "SAVE_EVERY": 2}.items():
        monkeypatch.setattr(runs, name, value)
    small = ("policy.hidden_dim=16", "policy.num_heads=2", "policy.num_blocks=1", "policy.down_dims=[8,16]")
    for name, training in list(TRAININGS.items()):
        words = (*training.words, *small)
        monkeypatch.setitem(TRAININGS, name, dataclasses.replace(training, words=words))
    return place


@pytest.mark.slow
@pytest.mark.parametrize("name", ["flow_moh", "lerobot_diffusion", "lerobot_act"])
def test_a_run_is_trained_judged_and_kept(tiny, name):
    runs.demonstrations("stack")
    one = Run("stack", name, 1)
    _, first = runs.finish(one)
    assert set(first["outcomes"]) == set(TRAININGS[name].ways)
    assert all(len(outcome) == 2 for outcome in first["outcomes"].values())
    assert first["training"]["steps"] == 4
    assert runs.finish(one) == (one, first)


@pytest.mark.slow
def test_lerobots_policies_learn_from_the_windows_of_ours(tiny):
    from robolearn.bench import _lerobot as lerobot
    from robolearn.data.dataset import EpisodeDataset

    root = runs.demonstrations("stack")
    data = EpisodeDataset.load(root)
    windows = data.windows(1, runs.HORIZON).shuffled(8, seed=3)(5)
    for kind, history in (("act", 0), ("diffusion", 1)):
        built = lerobot.make(runs._lerobot_config(kind, data), root)
        batch = runs._their_batches(built, data, batch_size=8, seed=3)(5)
        assert set(batch) == set(windows)
        assert batch["observation.state"].ndim == 2 + history
        np.testing.assert_allclose(built.after(batch["action"]).numpy(), windows["action"], atol=1e-5)
        np.testing.assert_array_equal(batch["action_is_pad"].numpy(), windows["action_is_pad"])


@pytest.mark.slow
def test_a_killed_run_of_lerobots_ends_with_the_same_weights(tiny, monkeypatch):
    from robolearn.train import trainer

    class Killed(BaseException):
        pass

    save = trainer.save_checkpoint

    def save_and_die(*arguments):
        save(*arguments)
        raise Killed

    monkeypatch.setattr(runs, "_evaluate", lambda one: {})
    runs.demonstrations("push")
    one = Run("push", "lerobot_act", 0)
    weights = one.folder / "training" / "policy" / "model.safetensors"
    runs.finish(one)
    whole = weights.read_bytes()
    shutil.rmtree(one.folder)
    one.record.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "save_checkpoint", save_and_die)
        with pytest.raises(Killed):
            runs.finish(one)
    assert not weights.exists()
    runs.finish(one)
    assert weights.read_bytes() == whole


def test_a_run_depends_on_the_options_of_its_preset():
    mixture = Run("stack", "flow_moh", 0).settings["policy"]
    assert mixture["horizons"] == [4, 8, 12, 16]
    assert mixture["consensus_steps"] == 3
    assert Run("stack", "flow_horizon_4", 0).settings["policy"]["horizon"] == 4
    assert Run("stack", "lerobot_act", 0).settings["policy"] is None
