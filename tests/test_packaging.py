"""What is installed: the wheel, its guards, and the packages that must live together."""

import importlib.metadata
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import robolearn

ROOT = Path(__file__).resolve().parent.parent
LINKS = {path.name: path for path in (ROOT / "robolearn").iterdir() if path.is_symlink()}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Names in a wheel that is built from a copy of the source."""
    source = tmp_path_factory.mktemp("source")
    keep = ["pyproject.toml", "README.md", "LICENSE", "robolearn", *LINKS]
    for name in keep:
        if (ROOT / name).is_dir():
            skip = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=skip)
        else:
            shutil.copy(ROOT / name, source / name)
    code = "from setuptools.build_meta import build_wheel; build_wheel('dist')"
    subprocess.run([sys.executable, "-c", code], cwd=source, check=True, capture_output=True)
    (path,) = (source / "dist").glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist())


def files(folder):
    return {p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts}


def test_the_wheel_has_every_module_and_data_file_of_every_folder(wheel):
    for name, link in LINKS.items():
        for path in files(link.resolve()):
            if path.suffix == ".py" or name == "configs" or (name == "real" and "ros2" in path.parts):
                assert f"robolearn/{name}/{path.relative_to(link.resolve())}" in wheel
    for path in (ROOT / "robolearn").glob("*.py"):
        assert f"robolearn/{path.name}" in wheel


def test_the_wheel_holds_one_package_and_its_licence(wheel):
    tops = {name.partition("/")[0] for name in wheel}
    info = f"robolearn-{robolearn.__version__}.dist-info"
    assert tops == {"robolearn", info}
    assert f"{info}/licenses/LICENSE" in wheel
    assert not any("__pycache__" in name for name in wheel)


@pytest.mark.parametrize("name", LINKS)
def test_links_are_relative_and_their_bare_names_cannot_be_imported(name):
    link = LINKS[name]
    assert link.readlink() == Path("..") / name
    done = subprocess.run(
        [sys.executable, "-c", f"import {name}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert f"robolearn.{name}" in done.stderr


def test_the_versions_agree():
    assert PROJECT["project"]["version"] == robolearn.__version__
    assert f"## [{robolearn.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_the_ros_packages_are_pinned_exactly():
    for requirement in PROJECT["project"]["optional-dependencies"]["ros"]:
        assert "==" in requirement.partition(";")[0]


def in_fresh_process(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.slow
def test_everything_imports_in_one_environment():
    """MuJoCo, MuJoCo Warp, robosuite with the shim, LeRobot, rclpy and Ray in one process."""
    code = """
import lerobot.policies, lerobot.datasets, mujoco, mujoco_warp, ray, rclpy, torch
from robolearn.sim.backends.robosuite_shim import load_robosuite
load_robosuite()
rclpy.init()
rclpy.shutdown()
print(torch.tensor([1.0]).item())
"""
    assert in_fresh_process(code) == "1.0"
    version = importlib.metadata.version
    assert version("mujoco").startswith("4.0.")
    assert version("mujoco-warp").startswith("4.0.")
    assert version("robosuite") == "1.5.2"
    assert version("lerobot").startswith("0.6.")
    assert version("numpy").startswith("2.2.")


def test_the_robots_side_imports_neither_training_nor_configuration():
    code = """
import importlib, pkgutil, sys
import robolearn.real as package
for module in pkgutil.iter_modules(package.__path__, "robolearn.real."):
    if not module.ispkg:
        importlib.import_module(module.name)
print("loaded:", *sorted({"torch", "hydra", "omegaconf", "lerobot", "mujoco"} & set(sys.modules)))
"""
    assert in_fresh_process(code) == "loaded:"
