"""The ROS 2 package's files fit together; launch files run against stand-ins for ROS 2's launch system."""

import ast
import re
import runpy
import sys
import xml.etree.ElementTree as ET
from configparser import ConfigParser
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

import robolearn.real.ros2
from robolearn.real.ros2 import policy_controller, simulated_arm
from robolearn.real.ros2.availability import split_arguments
from robolearn.real.ros2.policy_controller import parser
from robolearn.real.ros2.wiring import Wiring
from robolearn.real.settings import Settings
from robolearn.sim.robots import get_robot

PACKAGE = "robolearn_ros2"
FOLDER = Path(robolearn.real.ros2.__file__).parent
LAUNCH, CONFIG = sorted(FOLDER.glob("launch/*.launch.py")), sorted(FOLDER.glob("config/*.yaml"))


def setup_arguments():
    tree = ast.parse((FOLDER / "setup.py").read_text())
    call = next(node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.func.id == "setup")
    return {keyword.arg: keyword.value for keyword in call.keywords}


def test_name_and_version_agree():
    manifest = ET.parse(FOLDER / "package.xml").getroot()
    assert manifest.findtext("name") == "robolearn_ros2"
    assert (FOLDER / "resource" / manifest.findtext("name")).is_file()
    assert ast.literal_eval(setup_arguments()["version"]) == manifest.findtext("version") == robolearn.__version__


def test_every_executable_exists():
    scripts = ast.literal_eval(setup_arguments()["entry_points"])["console_scripts"]
    for script in scripts:
        module, function = script.split(" = ")[1].split(":")
        assert callable(getattr(import_module(module), function))


def test_executables_run_the_python_of_the_environment_that_is_active():
    settings = ConfigParser()
    settings.read(FOLDER / "setup.cfg")
    assert settings["build_scripts"]["executable"] == "/usr/bin/env python3"


def test_all_launch_and_parameter_files_are_installed():
    data_files = ast.unparse(setup_arguments()["data_files"])
    assert "glob('launch/*.launch.py')" in data_files
    assert "glob('config/*.yaml')" in data_files
    assert {file.name.partition(".")[0] for file in LAUNCH} == {"policy_controller", "simulated_arm"}
    assert {file.stem for file in CONFIG} == {"policy_controller", "ur5e", "franka", "so101"}


class Action:
    """Keeps what it was made with."""

    def __init__(self, *arguments, **options):
        self.arguments, self.options = arguments, options


@pytest.fixture
def launch(monkeypatch):
    """Run a launch file; return its actions by class name."""
    kinds = {}

    def stand_in(name):
        return kinds.setdefault(name, type(name, (Action,), {}))

    modules = {
        "launch": ["LaunchDescription"],
        "launch.actions": ["DeclareLaunchArgument", "IncludeLaunchDescription"],
        "launch.launch_description_sources": ["PythonLaunchDescriptionSource"],
        "launch.substitutions": ["LaunchConfiguration"],
        "launch_ros": [],
        "launch_ros.actions": ["Node"],
        "launch_ros.parameter_descriptions": ["ParameterValue"],
    }
    for module, names in modules.items():
        monkeypatch.setitem(sys.modules, module, SimpleNamespace(**{name: stand_in(name) for name in names}))
    packages = SimpleNamespace(get_package_share_directory=lambda package: {PACKAGE: str(FOLDER)}[package])
    monkeypatch.setitem(sys.modules, "ament_index_python", SimpleNamespace(packages=packages))
    monkeypatch.setitem(sys.modules, "ament_index_python.packages", packages)

    def run(file):
        description = runpy.run_path(str(file))["generate_launch_description"]()
        (actions,) = description.arguments
        return {name: [each for each in actions if isinstance(each, kind)] for name, kind in kinds.items()}

    return run


@pytest.mark.parametrize("file", LAUNCH, ids=lambda file: file.name)
def test_a_launch_file_declares_what_it_uses_and_starts_what_exists(launch, file):
    actions = launch(file)
    declared = [argument.arguments[0] for argument in actions["DeclareLaunchArgument"]]
    used = re.findall(r"LaunchConfiguration\(\"(\w+)\"\)", file.read_text())
    assert set(declared) >= set(used)
    scripts = ast.literal_eval(setup_arguments()["entry_points"])["console_scripts"]
    executables = [script.split(" = ")[0] for script in scripts]
    for node in actions["Node"]:
        assert node.options["package"] == PACKAGE
        assert node.options["executable"] in executables
    for include in actions["IncludeLaunchDescription"]:
        (source,) = include.arguments
        assert Path(*source.arguments).is_file()


def test_each_arm_has_a_parameter_file_that_the_launch_file_finds(launch):
    actions = launch(FOLDER / "launch" / "policy_controller.launch.py")
    defaults = {
        argument.arguments[0]: argument.options.get("default_value") for argument in actions["DeclareLaunchArgument"]
    }
    folder, arm, suffix = defaults["params"]
    assert arm.arguments == ("arm",)
    for file in CONFIG:
        assert Path(folder + file.stem + suffix) == file


@pytest.mark.parametrize(("file", "robot"), [("ur5e", "ur5e"), ("franka", "panda"), ("so101", "so101")])
def test_the_parameters_of_an_arm_make_sense_for_it(file, robot):
    given = yaml.safe_load((FOLDER / "config" / f"{file}.yaml").read_text())["/policy_controller"]["ros__parameters"]
    defaults = vars(parser().parse_args([]))
    assert set(given) <= set(defaults)
    assert all(isinstance(value, type(defaults[name])) for name, value in given.items())
    options = defaults | given
    Settings(**{field.name: options[field.name] for field in fields(Settings)})
    wiring, spec = Wiring.parse(options), get_robot(robot)
    wiring.require_robot(spec, [])
    drivers = [*wiring.arm_joints(spec), *wiring.finger_joints(spec)]
    assert set(wiring.named_by_robot(drivers, spec)) >= {*spec.joint_names, *spec.gripper_joints}


def test_what_launch_files_add_is_for_ros(capsys):
    assert split_arguments(["--rate", "100", "--ros-args", "-r", "__node:=x"]) == (
        ["--rate", "100"],
        ["--ros-args", "-r", "__node:=x"],
    )
    assert split_arguments(["--rate", "100"]) == (["--rate", "100"], [])
    for main in (policy_controller.main, simulated_arm.main):
        with pytest.raises(SystemExit):
            main(["--stale-afer", "0.1", "--ros-args", "-r", "__node:=x"])
        assert "--stale-afer" in capsys.readouterr().err


def test_parameter_file_command_line_and_settings_have_the_same_defaults():
    parameters = yaml.safe_load((FOLDER / "config" / "policy_controller.yaml").read_text())
    options = vars(parser().parse_args([]))
    assert parameters["/policy_controller"]["ros__parameters"] == options
    for field in fields(Settings):
        assert options[field.name] == getattr(Settings(), field.name)
