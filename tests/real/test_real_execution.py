"""The options of execution are the same everywhere, with the same defaults."""

import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from robolearn import execution
from robolearn.compose import build, compose, options
from robolearn.execution import Execution
from robolearn.real import ros2
from robolearn.real.ros2.policy_controller import OPTIONS, parser

DEFAULTS = asdict(Execution())


def test_the_node_has_them_with_help():
    parsed = vars(parser().parse_args([]))
    assert {name: parsed[name] for name in DEFAULTS} == DEFAULTS
    assert {name: OPTIONS[name] for name in DEFAULTS} == execution.OPTIONS
    chosen = parser().parse_args(["--execution", "rtc", "--delay-buffer", "3", "--inference-delay", "0.1"])
    assert (chosen.execution, chosen.delay_buffer, chosen.inference_delay) == ("rtc", 3, 0.1)


def test_the_parameter_file_has_them():
    file = Path(ros2.__file__).parent / "config" / "policy_controller.yaml"
    parameters = yaml.safe_load(file.read_text())["/policy_controller"]["ros__parameters"]
    assert {name: parameters[name] for name in DEFAULTS} == DEFAULTS
    assert parameters.keys() == OPTIONS.keys()


def test_deploy_has_them_with_the_same_help():
    config = compose("deploy", ["bundle=x"])
    deployment = build("deploy", config).deploy
    assert {name: getattr(deployment, name) for name in DEFAULTS} == DEFAULTS
    said = {option.key.removeprefix("deploy."): option.help for option in options(config)}
    assert {name: said[name] for name in DEFAULTS} == {name: text for name, (_, text) in execution.OPTIONS.items()}


@pytest.mark.parametrize("mode", execution.MODES)
def test_each_mode_can_be_asked_for(mode):
    assert build("deploy", compose("deploy", ["bundle=x", f"deploy.execution={mode}"])).deploy.execution == mode


def test_the_executable_is_there_before_numpy_which_looks_at_the_number_of_threads_once():
    code = "import sys, robolearn.real.ros2.policy_controller; print('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
