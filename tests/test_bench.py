import json
import sys
import types

import numpy as np
import pytest

from robolearn import bench
from robolearn.cli import main
from robolearn.commands import bench as command
from robolearn.eval.results import Measure, Result


@pytest.fixture
def toy(monkeypatch, tmp_path):
    """A benchmark named `toy`, and an empty checkout to run it in."""
    module = types.ModuleType("robolearn.bench.toy")
    module.SUMMARY, module.SEEDS = "a toy", (3, 4)
    module.run = lambda progress: progress("half") or [Measure("speed.toy", 10.0, "1/s", 4.0, (9.0, 11.0))]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(command, "names", lambda: ["toy"])
    (tmp_path / "benchmarks").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_result_file_has_the_agreed_form(toy, capsys):
    assert main(["bench", "toy"]) == 0
    data = json.loads((toy / "benchmarks/results/toy.json").read_text())
    assert set(data) == {"name", "command", "commit", "machine", "seeds", "measures"}
    assert (data["name"], data["command"], data["seeds"]) == ("toy", "robolearn bench toy", [3, 4])
    assert data["measures"] == [
        {"id": "speed.toy", "value": 10.0, "unit": "1/s", "baseline": 4.0, "interval": [9.0, 11.0]}
    ]
    out = capsys.readouterr()
    assert "speed.toy: 10.0 1/s, baseline 4.00: 2.50x" in out.out
    assert "half" in out.err


def test_a_result_says_what_was_asked_for(toy):
    def run(progress, *, seeds=None, tasks=None):
        return [Measure("speed.toy", 10.0, "1/s")]

    sys.modules["robolearn.bench.toy"].run = run
    assert main(["bench", "toy", "seeds=[3]", "tasks=[lift,push]"]) == 0
    data = json.loads((toy / "benchmarks/results/toy.json").read_text())
    assert (data["command"], data["seeds"]) == ("robolearn bench toy tasks=[lift,push] seeds=[3]", [3])


def test_where_runs_are_kept_the_seeds_are_those_of_all_that_are_finished(toy):
    module = sys.modules["robolearn.bench.toy"]
    module.run = lambda progress, *, seeds=None, steps=None: [Measure("speed.toy", 10.0, "1/s")]
    module.finished_seeds = lambda *, steps=None, **_: (3, 4) if steps is None else (3,)
    for words, seeds in ((["seeds=[3]"], [3, 4]), (["steps=10"], [3])):
        assert main(["bench", "toy", *words]) == 0
        assert json.loads((toy / "benchmarks/results/toy.json").read_text())["seeds"] == seeds


def test_a_baseline_of_zero_has_no_ratio(toy, capsys):
    sys.modules["robolearn.bench.toy"].run = lambda progress: [Measure("success.toy", 0.9, "1", 0.0)]
    assert main(["bench", "toy"]) == 0
    assert "success.toy: 0.900 1, baseline 0\n" in capsys.readouterr().out


def test_out_takes_the_result_elsewhere(toy):
    assert main(["bench", "toy", "out=there/x.json"]) == 0
    assert Result.load(toy / "there/x.json").name == "toy"
    assert not (toy / "benchmarks/results").exists()


def test_outside_a_checkout_a_place_must_be_given(toy, monkeypatch, tmp_path, capsys):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(["bench", "toy"]) == 2
    assert "give out=FILE" in capsys.readouterr().err


def test_readme_tables_are_rewritten_and_nothing_else(toy, capsys):
    readme = toy / "README.md"
    readme.write_text("# Title\n<!-- bench:toy -->\nold\n<!-- /bench -->\nend\n")
    assert main(["bench", "--readme"]) == 2
    assert "robolearn bench toy" in capsys.readouterr().err
    main(["bench", "toy"])
    assert main(["bench", "--readme"]) == 0
    once = readme.read_text()
    assert once.startswith("# Title\n<!-- bench:toy -->\n|")
    assert once.endswith("<!-- /bench -->\nend\n")
    assert "`speed.toy` | 10.0 1/s" in once
    assert "old" not in once
    main(["bench", "--readme"])
    assert readme.read_text() == once


def test_the_page_of_benchmarks_is_filled_too(toy, capsys):
    (toy / "README.md").write_text("# Title\n")
    page = toy / "docs/benchmarks.md"
    page.parent.mkdir()
    page.write_text("<!-- bench:toy -->\n<!-- /bench -->\n")
    main(["bench", "toy"])
    assert main(["bench", "--readme"]) == 0
    assert "`speed.toy` | 10.0 1/s" in page.read_text()
    assert (toy / "README.md").read_text() == "# Title\n"
    assert "docs/benchmarks.md: toy" in capsys.readouterr().out


def test_a_readme_without_marks_is_an_error(toy, capsys):
    assert main(["bench", "--readme"]) == 2
    (toy / "README.md").write_text("# Title\n")
    assert main(["bench", "--readme"]) == 2
    err = capsys.readouterr().err
    assert "no README.md" in err
    assert "<!-- bench:NAME -->" in err


def test_list_names_every_benchmark(capsys):
    assert main(["bench", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == command.names()
    assert {"experts", "sim"} <= set(command.names())
    assert not any(name.startswith("_") for name in command.names())


@pytest.mark.parametrize("name", command.names())
def test_every_benchmark_has_its_parts(name):
    module = command.load(name)
    assert module.SUMMARY
    assert module.SEEDS
    assert callable(module.run)
    assert bench.__doc__


def make(robosuite, task, **options):
    return robosuite.make(
        task,
        robots="Panda",
        has_renderer=False,
        has_offscreen_renderer=False,
        use_camera_obs=False,
        control_freq=20,
        seed=0,
        **options,
    )


def step_some(env, steps):
    env.reset()
    low, high = env.action_spec
    rng = np.random.default_rng(0)
    start = np.array(env.sim.data.qpos)
    for _ in range(steps):
        observation, reward, *_ = env.step(rng.uniform(low, high))
    assert all(np.isfinite(value).all() for value in observation.values())
    assert np.isfinite(reward)
    assert not np.allclose(start, env.sim.data.qpos)
    mass = env.robots[0].part_controllers["right"].mass_matrix
    assert np.linalg.eigvalsh(mass).min() > 0.1
    assert env.sim.data.time == pytest.approx(steps / 20)


@pytest.mark.slow
def test_robosuite_lift_runs_on_this_mujoco():
    pytest.importorskip("robosuite")
    from robolearn.sim.backends.robosuite_shim import load_robosuite

    step_some(make(load_robosuite(), "Lift"), 5)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["Stack", "Door", "NutAssembly", "PickPlace", "Wipe", "ToolHang"])
def test_other_robosuite_tasks_run_on_this_mujoco(task):
    from robolearn.sim.backends.robosuite_shim import load_robosuite

    step_some(make(load_robosuite(), task), 20)
