"""What docs/simulation.md shows works, and its table says what the code does."""

import re
import runpy
from pathlib import Path

import pytest
from PIL import Image

from robolearn.bench.experts import out_of_reach
from robolearn.cli import main
from robolearn.sim.robots import ROBOTS
from robolearn.sim.tasks import TASKS

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "simulation.md").read_text(encoding="utf-8")
COMMANDS = [line.partition("#")[0].split() for line in re.findall(r"^    uv run robolearn (.+)$", PAGE, re.MULTILINE)]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_options_that_exist(words, capsys):
    assert main([*words, "--cfg"]) == 0, capsys.readouterr().err


def test_every_example_runs(capsys):
    pytest.importorskip("robosuite")
    names = {}
    for code in re.findall(r"```python\n(.+?)```", PAGE, re.DOTALL):
        exec(compile(code, "docs/simulation.md", "exec"), names)
    assert "no_grasp" in capsys.readouterr().out
    assert names["pictures"].shape == (4, 84, 84, 3)


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_the_table_of_tasks_is_true(task):
    (row,) = re.findall(rf"^\| `{task.name}` \|(.+)\|$", PAGE, re.MULTILINE)
    _, stages, action_space, robots = (cell.strip() for cell in row.split("|"))
    assert tuple(stages.split(", ")) == task.stage_names
    assert action_space == f"`{task.action_space}`"
    assert robots == ", ".join(f"`{robot}`" for robot in ROBOTS if out_of_reach(task.name, robot) is None)


def test_the_table_has_no_other_task():
    table = PAGE.partition("## Tasks")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(TASKS)


def test_the_picture_of_the_tasks_can_be_drawn_anew(tmp_path):
    script = runpy.run_path(str(DOCS / "images/make_tasks.py"))
    script["main"](tmp_path / "tasks.png", ["reach"])
    with Image.open(tmp_path / "tasks.png") as drawn, Image.open(DOCS / "images/tasks.png") as kept:
        assert drawn.width == kept.width
        assert kept.height // drawn.height == len(TASKS)
