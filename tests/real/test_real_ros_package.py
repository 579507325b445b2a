"""The ROS 2 package's files fit together; building it needs colcon, which is not a Python package here."""

import ast
import xml.etree.ElementTree as ET
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import yaml

import robolearn.real.ros2
from robolearn.real.ros2.policy_controller import parser
from robolearn.real.settings import Settings

FOLDER = Path(robolearn.real.ros2.__file__).parent


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


def test_installed_files_exist():
    for file in ("launch/policy_controller.launch.py", "config/policy_controller.yaml", "package.xml"):
        assert (FOLDER / file).is_file()
        assert file in ast.unparse(setup_arguments()["data_files"])


def test_the_launch_file_is_valid_python_that_makes_a_description():
    tree = ast.parse((FOLDER / "launch" / "policy_controller.launch.py").read_text())
    assert "generate_launch_description" in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_parameter_file_command_line_and_settings_have_the_same_defaults():
    parameters = yaml.safe_load((FOLDER / "config" / "policy_controller.yaml").read_text())
    options = vars(parser().parse_args([]))
    assert parameters["/policy_controller"]["ros__parameters"] == options
    for field in fields(Settings):
        assert options[field.name] == getattr(Settings(), field.name)
