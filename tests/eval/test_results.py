import json
import subprocess
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robolearn.errors import UserError
from robolearn.eval import machine as module
from robolearn.eval.machine import commit, machine
from robolearn.eval.results import Measure, Result, number, readme_table

RESULT = Result(
    name="sim",
    command="robolearn bench sim",
    commit="v0.1.0-3-gabcdef",
    machine={"cpu": "A | B", "cores": "2"},
    seeds=(0, 1),
    measures=(
        Measure("control_steps_per_s.lift", 9871.0, "1/s", baseline=270.0, interval=(9500.0, 10200.0)),
        Measure("success", 0.95, "1"),
    ),
)


def test_saved_and_loaded(tmp_path):
    path = tmp_path / "deep" / "sim.json"
    RESULT.save(path)
    assert Result.load(path) == RESULT
    assert [p.name for p in path.parent.iterdir()] == ["sim.json"]
    assert RESULT["success"].value == 0.95


def test_file_has_the_published_form(tmp_path):
    RESULT.save(tmp_path / "sim.json")
    data = json.loads((tmp_path / "sim.json").read_text())
    assert list(data) == ["name", "command", "commit", "machine", "seeds", "measures"]
    assert list(data["measures"][0]) == ["id", "value", "unit", "baseline", "interval"]
    assert data["measures"][0]["interval"] == [9500.0, 10200.0]
    assert data["measures"][1]["baseline"] is None


def broken(**changes):
    data = json.loads(json.dumps({**vars(RESULT), "measures": [vars(m) for m in RESULT.measures]}))
    for key, value in changes.items():
        if value is ...:
            del data[key]
        elif key in data:
            data[key] = value
        else:
            data["measures"][0][key] = value
    return data


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (broken(seeds=...), "lacks 'seeds'"),
        (broken(seeds=["a"]), "whole numbers"),
        (broken(name=3), "'name'"),
        (broken(measures={}), "no list"),
        (broken(colour="red"), "unknown field 'colour'"),
        (broken(value="12"), "'value'"),
        (broken(value=True), "'value'"),
        (broken(baseline="1"), "baseline of 'control_steps_per_s.lift'"),
        (broken(interval=[1]), r"\[low, high\]"),
        (broken(interval=[2, 1]), "upside down"),
        (broken(id="Not An Id"), "Not An Id"),
        (broken(id="success"), "appears twice"),
        ([], "no JSON object"),
    ],
)
def test_a_broken_file_is_named_with_its_fault(tmp_path, data, says):
    path = tmp_path / "sim.json"
    path.write_text(json.dumps(data))
    with pytest.raises(UserError, match=says) as caught:
        Result.load(path)
    assert str(path) in str(caught.value)


def test_no_file_no_json(tmp_path):
    with pytest.raises(UserError, match="robolearn bench sim"):
        Result.load(tmp_path / "sim.json")
    (tmp_path / "half.json").write_text('{"name": ')
    with pytest.raises(UserError, match="no result file"):
        Result.load(tmp_path / "half.json")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_figures_are_finite(value):
    with pytest.raises(ValueError, match="finite"):
        Measure("a", value, "1")


def test_a_failing_save_keeps_the_older_file(tmp_path):
    path = tmp_path / "sim.json"
    RESULT.save(path)
    unwritable = replace(RESULT, machine={"cpu": object()})
    with pytest.raises(TypeError):
        unwritable.save(path)
    assert Result.load(path) == RESULT


def test_readme_table():
    table = readme_table([RESULT]).splitlines()
    assert table[2] == "| `sim`: `control_steps_per_s.lift` | 9 870 1/s | 9 500 to 10 200 | 270 1/s | 36.6x |"
    assert table[3] == "| `sim`: `success` | 0.950 |  |  |  |"
    assert table[-1] == "- `sim`: `robolearn bench sim`, commit v0.1.0-3-gabcdef, seeds 0, 1, on A | B, 2 cores"


def test_no_ratio_to_a_baseline_of_zero():
    assert Measure("a", 1.0, "1", baseline=0.0).ratio is None


@given(st.floats(1e-6, 1e9))
def test_number_keeps_three_digits(value):
    assert float(number(value).replace(" ", "")) == pytest.approx(value, rel=0.006)


def test_machine_says_what_figures_depend_on_and_nothing_private():
    facts = machine()
    assert {"cpu", "cores", "memory", "os", "python", "numpy", "mujoco"} <= set(facts)
    assert int(facts["cores"]) >= 1
    assert not any("/" in value and value.startswith("/") for value in facts.values())


def test_commit_of_a_checkout(tmp_path, monkeypatch):
    def git(*arguments):
        subprocess.run(
            ("git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments),
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )

    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "__init__.py").write_text("")
    figures = tmp_path / "benchmarks" / "results" / "a.json"
    figures.parent.mkdir(parents=True)
    figures.write_text("{}")
    git("init")
    git("commit", "--allow-empty", "-m", "first")
    monkeypatch.setattr(module, "SOURCE", tmp_path / "pkg")
    assert commit() == "0.1.0"  # a repository that does not track the package: its version counts
    git("add", ".")
    git("commit", "-m", "second")
    clean = commit()
    assert len(clean) == 10
    figures.write_text("[]")  # by a benchmark that has just run
    assert commit() == clean
    (tmp_path / "pkg" / "__init__.py").write_text("changed = True\n")
    assert commit() == f"{clean}-dirty"
