"""Ten typical mistakes: each ends in one sentence that says what to do, status 2 and no traceback."""

import errno
import hashlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bundle_factory import make_schema, write_bundle

from robolearn.cli import explain, main
from robolearn.data.layout import data_file
from robolearn.data.writer import DatasetWriter
from robolearn.real.ros2.domain import FIRST_PORT, PORTS_PER_DOMAIN, UNICAST, choose_domain
from robolearn.sim.robots import get_robot

HERE = Path(__file__).parent


@pytest.fixture
def bundle(tmp_path):
    return write_bundle(tmp_path / "bundle")


@pytest.fixture
def dataset(tmp_path):
    """Two episodes of ten frames of the lift task's channels."""
    writer = DatasetWriter(tmp_path / "demos", make_schema(get_robot("panda")), robot_type="panda")
    rng = np.random.default_rng(0)
    for _ in range(2):
        frames = {k: rng.uniform(0, 0.01, (10, *f.shape)).astype(np.float32) for k, f in writer.schema.features.items()}
        writer.add_episode(frames, task="lift the cube")
    writer.finalize()
    return tmp_path / "demos"


def complaint(err):
    """The one line on stderr."""
    assert err.count("\n") == 1, err
    assert err.startswith("robolearn: ")
    assert "Traceback" not in err
    return err


@pytest.fixture
def mistake(capfd):
    """Run a command line that must fail as a user's mistake does, and return its sentence."""

    def run(*words):
        assert main(list(words)) == 2
        sentence = complaint(capfd.readouterr().err)
        assert main([*words, "--debug"]) == 2
        err = capfd.readouterr().err
        assert "Traceback (most recent call last)" in err
        assert err.endswith(sentence)
        return sentence

    return run


def run_alone(*words):
    """Run the command line in a process of its own and return its sentence."""
    command = [sys.executable, "-m", "robolearn", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    return complaint(done.stderr)


def test_misspelt_option():
    assert "unknown option 'num_epsiodes'; did you mean 'num_episodes'?" in run_alone("collect", "num_epsiodes=3")


def test_missing_extra(mistake, monkeypatch, bundle, tmp_path):
    monkeypatch.setitem(sys.modules, "rclpy", None)
    sentence = mistake("deploy", f"bundle={bundle}", f"out={tmp_path / 'out'}")
    assert "rclpy" in sentence
    assert "uv run" in sentence or "uv sync" in sentence


def test_wrong_dataset_folder(mistake, tmp_path):
    sentence = run_alone("train", "dataset=demoss", f"out={tmp_path}")
    assert "no dataset folder demoss" in sentence
    assert "robolearn collect" in sentence
    (tmp_path / "empty").mkdir()
    assert str(tmp_path / "empty") in mistake("train", f"dataset={tmp_path / 'empty'}", f"out={tmp_path}")


def test_wrong_checkpoint_or_bundle_folder(mistake, tmp_path):
    assert "no checkpoint folder 'nowhere': give the `out`" in mistake("eval", "checkpoint=nowhere")
    assert "lacks config.json" in mistake("eval", f"checkpoint={tmp_path}")
    assert "is no bundle" in mistake("deploy", f"bundle={tmp_path}", f"out={tmp_path / 'out'}")


@pytest.mark.ros
def test_bundle_for_another_robot(mistake, bundle, tmp_path):
    pytest.importorskip("rclpy")
    robot = json.loads((bundle / "robot.json").read_text())
    robot["joint_names"][2] = "elbow"
    schema = (bundle / "schema.json").read_text().replace("panda_joint3", "elbow")
    manifest = json.loads((bundle / "manifest.json").read_text())
    for name, text in (("robot.json", json.dumps(robot)), ("schema.json", schema)):
        (bundle / name).write_text(text)
        manifest["files"][name] = hashlib.sha256(text.encode()).hexdigest()
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    sentence = run_alone("deploy", f"bundle={bundle}", f"out={tmp_path / 'out'}")
    assert "does not fit this robot" in sentence
    assert "needs joint 'elbow'" in sentence
    assert "use a bundle that was trained for it" in sentence


def test_no_display():
    code = (
        "import sys, types, mujoco; from robolearn.cli import main;"
        "verb = types.ModuleType('robolearn.commands.collect');"
        "verb.run = lambda config: mujoco.Renderer(mujoco.MjModel.from_xml_string('<mujoco/>'));"
        "sys.modules[verb.__name__] = verb; sys.exit(main(['collect']))"
    )
    environment = {key: value for key, value in os.environ.items() if key != "DISPLAY"}
    environment |= {"MUJOCO_GL": "glfw", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 2
    sentence = done.stderr.splitlines()[-1]
    assert "no display to draw on" in sentence
    assert "MUJOCO_GL=egl" in sentence
    assert "Traceback" not in done.stderr


def test_ros_domain_busy(mistake, bundle, tmp_path):
    domain = choose_domain()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("", FIRST_PORT + PORTS_PER_DOMAIN * domain + UNICAST))
        sentence = mistake("deploy", f"bundle={bundle}", f"deploy.domain_id={domain}", f"out={tmp_path / 'out'}")
    assert f"ROS domain busy: other nodes run in domain {domain}" in sentence
    assert "deploy.domain_id=NUMBER" in sentence


def test_full_disk(mistake, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        words = (
            "collect",
            "num_episodes=1",
            "env.num_envs=1",
            "env.threads=1",
            "expert.noise=0",
            f"out={tmp_path / 'demos'}",
        )
        sentence = mistake(*words)
    assert "disk is full: free some space and run again" in sentence
    assert main(list(words)) == 0  # with room, the same command goes through


def test_full_disk_where_safetensors_writes():
    from safetensors import SafetensorError

    text = "Error while serializing: I/O error: No space left on device (os error 28)"
    assert "disk full" in explain(SafetensorError(text))
    assert explain(SafetensorError("Error while deserializing header: HeaderTooSmall")) is None


def test_nan_in_data(mistake, dataset, tmp_path):
    file = data_file(dataset, 0)
    table = pq.read_table(file)
    at = table.column_names.index("action")
    values = np.array(table["action"].to_pylist(), np.float32)
    values[13, 1] = np.nan
    column = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
    pq.write_table(table.set_column(at, "action", column), file)
    sentence = mistake("train", f"dataset={dataset}", f"out={tmp_path / 'out'}")
    assert "'action'" in sentence
    assert "NaN" in sentence
    assert "episode 1" in sentence


def test_checkpoint_of_another_policy(mistake, tmp_path):
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "config.json").write_text('{"type": "diffusion"}')
    for name in ("model.safetensors", "schema.json", "stats.json"):
        (folder / name).write_bytes(b"")
    sentence = mistake("eval", f"checkpoint={folder}")
    assert "holds a checkpoint of policy 'diffusion'" in sentence
    assert "did you mean 'robolearn_diffusion'?" in sentence


def test_training_on_top_of_another_policy_s_checkpoint(mistake, dataset, tmp_path):
    words = ("train", f"dataset={dataset}", "train.steps=2", "train.batch_size=4", "policy.num_blocks=1")
    assert main([*words, "policy.hidden_dim=16", f"out={tmp_path / 'out'}"]) == 0
    sentence = mistake(*words, "policy.hidden_dim=8", f"out={tmp_path / 'out'}")
    assert "was begun with policy" in sentence
    assert str(tmp_path / "out") in sentence


def test_zero_episodes():
    assert "episodes=0 is too small: give at least 1" in run_alone("eval", "checkpoint=c", "episodes=0")


@pytest.mark.parametrize("words", [("collect", "num_episodes=0"), ("deploy", "bundle=b", "deploy.episodes=0")])
def test_zero_episodes_anywhere(mistake, words):
    assert "=0 is too small: give at least 1" in mistake(*words)
