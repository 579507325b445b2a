"""What docs/lerobot.md shows are options that exist."""

import re
import shlex
from pathlib import Path

import draccus
import pytest
from draccus.utils import ParsingError
from lerobot.configs import parser
from lerobot.configs.eval import EvalPipelineConfig
from lerobot.configs.train import TrainPipelineConfig
from lerobot.rollout import RolloutConfig

from robolearn.cli import main

PAGE = (Path(__file__).parents[2] / "docs/lerobot.md").read_text(encoding="utf-8")
BLOCKS = "".join(re.findall(r"```bash\n(.+?)```", PAGE, re.DOTALL)).replace("\\\n", " ")
COMMANDS = [shlex.split(line.removeprefix("uv run ")) for line in BLOCKS.splitlines()]
CONFIGS = {"lerobot-train": TrainPipelineConfig, "lerobot-eval": EvalPipelineConfig, "lerobot-rollout": RolloutConfig}


@pytest.mark.parametrize("words", [words for words in COMMANDS if words[0] == "robolearn"], ids=" ".join)
def test_our_commands_have_options_that_exist(words, capsys):
    assert main([*words[1:], "--cfg"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("words", [words for words in COMMANDS if words[0] != "robolearn"], ids=" ".join)
def test_lerobots_commands_have_options_that_exist(words, monkeypatch):
    name, *arguments = words
    monkeypatch.setattr("sys.argv", [name])  # where LeRobot looks for the policy's folder once more
    ((option, package),) = parser.parse_plugin_args(parser.PLUGIN_DISCOVERY_SUFFIX, arguments).items()
    parser.load_plugin(package)
    config = CONFIGS[name]
    rest = parser.filter_path_args(config.__get_path_fields__(), parser.filter_arg(option, arguments))
    if config is RolloutConfig:
        with pytest.raises(ParsingError) as caught:  # after all options were read
            draccus.parse(config, args=rest)
        assert "--policy.path is required" in str(caught.value.__cause__)
    else:
        assert draccus.parse(config, args=rest).env.task == "lift"


def test_all_options_of_the_environment_are_told():
    from robolearn.lerobot_plugins.environment import RobolearnEnv

    told = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.+?) \|", PAGE, re.MULTILINE))))
    inherited = {"features", "features_map", "max_parallel_tasks", "disable_env_checker"}
    assert told == set(RobolearnEnv.__dataclass_fields__) - inherited
