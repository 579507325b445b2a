"""What docs/data.md shows works."""

import re
from pathlib import Path

import pytest
import yaml

from robolearn.cli import main
from robolearn.data.importers.bag_contract import read_bag_contract
from robolearn.data.importers.contract import read_contract
from robolearn.data.importers.hdf5 import OPTIONS
from robolearn.data.importers.resample import RULES

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
COMMANDS = [line.partition("#")[0].split() for line in re.findall(r"^    uv run robolearn (.+)$", PAGE, re.MULTILINE)]
CONTRACTS = {text.partition("\n")[0].strip("# "): text for text in re.findall(r"```yaml\n(.+?)```", PAGE, re.DOTALL)}


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_options_that_exist(words, capsys):
    assert main([*words, "--cfg"]) == 0, capsys.readouterr().err


def test_every_contract_can_be_read(tmp_path):
    assert CONTRACTS.keys() == {"hdf5", "lerobot", "rosbag"}
    for name, text in CONTRACTS.items():
        path = tmp_path / f"{name}.yaml"
        path.write_text(text)
        if name == "rosbag":
            contract = read_bag_contract(path, task=None)
            assert contract.channels.keys() == yaml.safe_load(text)["channels"].keys()
        else:
            read_contract(path, options=OPTIONS if name == "hdf5" else (), entry="key", entry_options=())


def test_every_rule_of_resampling_is_in_the_table():
    _, *rows = re.findall(r"^\| `(\w+)`(?: \(default\))? \|", PAGE.partition("**Which message.**")[2], re.MULTILINE)
    assert tuple(rows) == RULES
