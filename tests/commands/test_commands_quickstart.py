"""`robolearn quickstart`: finished steps are not run again, and one folder holds one run."""

import json

import pytest

from robolearn.cli import main
from robolearn.commands import quickstart
from robolearn.compose import build, compose
from robolearn.errors import UserError

STEPS = ["collect", "expert", "train", "base", "finetune", "finetuned", "export", "deploy"]


class Collected(dict):
    """Stands in for the quality of demonstrations."""

    def to_dict(self):
        return dict(self)


def make_config(out, *words):
    return build("quickstart", compose("quickstart", ["budget=fast", f"out={out}", *words]))


@pytest.fixture
def steps(monkeypatch):
    """Stand-ins for what the steps do: each is noted, and `fail` names one that dies."""
    ran, fail = [], set()

    def stand_in(name):
        def step(*_, **__):
            if name in fail:
                raise KeyboardInterrupt
            ran.append(name)
            return {"made": len(ran)}

        return step

    monkeypatch.setattr(quickstart, "collect", lambda *_, **__: Collected(stand_in("collect")()))
    monkeypatch.setattr(quickstart, "train", stand_in("train"))
    monkeypatch.setattr(quickstart, "finetune", stand_in("finetune"))
    monkeypatch.setattr(quickstart, "deploy", stand_in("deploy"))
    monkeypatch.setattr(quickstart.Quickstart, "_expert", stand_in("expert"))
    monkeypatch.setattr(quickstart.Quickstart, "_export", stand_in("export"))
    monkeypatch.setattr(quickstart.Quickstart, "_evaluate", lambda self, path: stand_in(f"eval {path.parent.name}")())
    return ran, fail


def run(config):
    """Like `quickstart.run`, without the report."""
    job = quickstart.Quickstart(config)
    for name, step in job.steps.items():
        job.do(name, step)
    return job


def test_every_step_is_run_once_in_order(steps, tmp_path):
    ran, _ = steps
    job = run(make_config(tmp_path))
    assert list(job.steps) == list(job.results) == STEPS
    assert ran == ["collect", "expert", "train", "eval base", "finetune", "eval finetuned", "export", "deploy"]
    again = run(make_config(tmp_path))
    assert len(ran) == len(STEPS)
    assert again.results == job.results
    assert all(result["seconds"] >= 0 for result in again.results.values())


def test_a_killed_run_goes_on_with_the_step_that_was_cut_short(steps, tmp_path):
    ran, fail = steps
    fail.add("finetune")
    with pytest.raises(KeyboardInterrupt):
        run(make_config(tmp_path))
    assert ran == ["collect", "expert", "train", "eval base"]
    fail.clear()
    run(make_config(tmp_path))
    assert ran[4:] == ["finetune", "eval finetuned", "export", "deploy"]


def test_the_time_of_a_killed_step_counts(steps, tmp_path):
    _, fail = steps
    fail.add("train")
    with pytest.raises(KeyboardInterrupt):
        run(make_config(tmp_path))
    spent = tmp_path / "lift-seed0-fast" / "results" / ".train.seconds"
    spent.write_text(str(float(spent.read_text()) + 100))
    fail.clear()
    assert run(make_config(tmp_path)).results["train"]["seconds"] > 100
    assert not spent.exists()


def test_another_configuration_needs_another_folder(steps, tmp_path):
    run(make_config(tmp_path))
    for change in ("train.steps=99", "algo.gamma=0.5", "expert.noise=0.4"):
        with pytest.raises(UserError, match=r"holds a run with another configuration: add fresh=true .* run=NAME"):
            quickstart.Quickstart(make_config(tmp_path, change))
    kept = (tmp_path / "lift-seed0-fast" / "config.yaml").read_text()
    assert "steps: 99" not in kept
    assert run(make_config(tmp_path, "train.steps=99", "run=other")).out == tmp_path / "other"
    assert run(make_config(tmp_path, "seed=1")).out == tmp_path / "lift-seed1-fast"


def test_fresh_begins_anew(steps, tmp_path):
    ran, _ = steps
    out = run(make_config(tmp_path)).out
    (out / "leftover").write_text("old")
    run(make_config(tmp_path, "train.steps=99", "fresh=true"))
    assert len(ran) == 2 * len(STEPS)
    assert not (out / "leftover").exists()
    run(make_config(tmp_path, "train.steps=99"))
    assert len(ran) == 2 * len(STEPS)


def test_fresh_deletes_nothing_but_a_run(steps, tmp_path):
    strange = tmp_path / "mine"
    strange.mkdir()
    (strange / "thesis.tex").write_text("years of work")
    run(make_config(tmp_path, "run=mine", "fresh=true"))
    assert (strange / "thesis.tex").exists()


def test_a_full_and_a_fast_run_do_not_share_a_folder(tmp_path):
    fast = quickstart.Quickstart(make_config(tmp_path))
    full = quickstart.Quickstart(build("quickstart", compose("quickstart", [f"out={tmp_path}"])))
    assert fast.out != full.out


def test_runs_of_different_seeds_take_different_demonstrations(steps, tmp_path, monkeypatch):
    seeds = []
    monkeypatch.setattr(quickstart, "collect", lambda *_, seed, **__: seeds.append(seed) or Collected({}))
    for seed in (0, 1):
        run(make_config(tmp_path, f"seed={seed}"))
    assert seeds[1] - seeds[0] >= 10_000


@pytest.mark.slow
@pytest.mark.ros
def test_the_fast_chain_leaves_a_report(tmp_path, capsys):
    pytest.importorskip("rclpy")
    words = ["quickstart", "--fast", f"out={tmp_path}"]
    assert main(words) == 0
    out = tmp_path / "lift-seed0-fast"
    report = (out / "report.html").read_text()
    for name in ("expert", "base policy", "fine-tuned policy", "deployed through ROS 2"):
        assert name in report
    assert {path.stem for path in (out / "results").glob("*.json")} == set(STEPS)
    assert (out / "bundle" / "manifest.json").exists()
    assert json.loads((out / "results" / "export.json").read_text())["difference"] < 1e-4
    made = {path: path.stat().st_mtime_ns for path in (out / "results").iterdir()}
    assert main(words) == 0
    assert {path: path.stat().st_mtime_ns for path in (out / "results").iterdir()} == made
