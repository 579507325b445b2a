"""What docs/policies.md shows works, and its table is counted."""

import dataclasses
import re
from pathlib import Path

import pytest
from hydra.utils import get_method

from robolearn.cli import main
from robolearn.compose import build, compose, group_options
from robolearn.schema import Feature
from robolearn.sim.robots import get_robot
from robolearn.sim.tasks import make_task
from robolearn.sim.vec_env import make_schema

PAGE = (Path(__file__).parents[2] / "docs" / "policies.md").read_text(encoding="utf-8")
COMMANDS = [line.split() for line in re.findall(r"^    uv run robolearn (.+)$", PAGE, re.MULTILINE)]
ROWS = re.findall(r"^\| `(\w+)` \| .+ \| ([\d.]+) M \| ([\d.]+) M \|$", PAGE, re.MULTILINE)
PICTURE = Feature("video", (84, 84, 3), ("height", "width", "channels"), ("1",) * 3, "observation")
CAMERAS = {"observation.images.external": PICTURE, "observation.images.wrist": PICTURE}


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: f"{words[0]} {words[-1]}")
def test_every_command_has_options_that_exist(words, capsys):
    assert main([*words, "--cfg"]) == 0, capsys.readouterr().err


def test_every_policy_that_is_trained_from_scratch_is_in_the_table():
    presets = set(group_options("train")["policy"])
    assert {name for name, _, _ in ROWS} == presets - {"smolvla", "pi0", "pi05"}
    assert all(f"`{name}`" in PAGE for name in presets)


def parameters(name, *, images):
    schema = make_schema(make_task("sort"), get_robot("panda"), action_space="ee_delta", fps=20, images=images)
    if images:
        schema = schema.select([key for key in schema if key != "observation.environment_state"])
    config = build("train", compose("train", ["dataset=d", f"policy={name}"])).policy
    settings = {key: value for key, value in dataclasses.asdict(config).items() if key != "_target_"}
    return sum(p.numel() for p in get_method(config._target_)(schema, **settings).parameters())


@pytest.mark.parametrize(("name", "state", "pictures"), ROWS)
def test_the_table_is_counted(name, state, pictures):
    assert f"{parameters(name, images={}) / 1e6:.2f}" == state
    assert f"{parameters(name, images=CAMERAS) / 1e6:.2f}" == pictures
