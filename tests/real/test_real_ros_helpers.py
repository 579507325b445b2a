"""The parts of the ROS 2 side that need no ROS 2."""

import re
import socket
import sys

import pytest

from robolearn.errors import UserError
from robolearn.real.ros2 import availability, domain, processes
from robolearn.real.ros2.processes import Child, sweep


def test_a_taken_port_makes_a_domain_busy():
    free = domain.choose_domain()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("", domain.FIRST_PORT + domain.PORTS_PER_DOMAIN * free + domain.UNICAST))
        assert domain.is_busy(free)
        assert domain.choose_domain() != free
        with pytest.raises(UserError, match=f"ROS domain busy.*{free}"):
            domain.choose_domain(free)
    assert domain.choose_domain(free) == free


def test_no_free_domain_is_said(monkeypatch):
    monkeypatch.setattr(domain, "is_busy", lambda _: True)
    with pytest.raises(UserError, match="ROS domain busy"):
        domain.choose_domain()


@pytest.mark.parametrize(("damaged", "message"), [([], "uv run"), (["ros-rclpy"], "uv sync --inexact --reinstall`")])
def test_missing_ros_says_what_to_do(monkeypatch, damaged, message):
    monkeypatch.setattr(availability, "damaged_wheels", lambda: damaged)
    for module in ("rclpy", *availability.MODULES):  # another test may have imported them
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=message):
        availability.require_rclpy()


def test_only_what_simulates_keeps_to_this_machine(monkeypatch):
    monkeypatch.setattr(availability, "MODULES", ())
    monkeypatch.setenv(availability.RANGE, "")  # so that it is put back
    monkeypatch.delenv(availability.RANGE)
    availability.require_rclpy()
    assert availability.discovery_range() == "SUBNET"
    availability.keep_to_this_machine()
    assert availability.discovery_range() == "LOCALHOST"
    monkeypatch.setenv(availability.RANGE, "SUBNET")
    availability.keep_to_this_machine()
    assert availability.discovery_range() == "SUBNET"


def test_a_wheel_without_its_files_is_damaged(tmp_path, monkeypatch):
    for package in ("sound", "broken"):
        record = tmp_path / f"ros_{package}-1.dist-info"
        record.mkdir()
        (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: ros-{package}\nVersion: 1\n")
        (record / "RECORD").write_text(f"ros_{package}/__init__.py,,\n../../../share/x.py,,\n")
    (tmp_path / "ros_sound").mkdir()
    (tmp_path / "ros_sound" / "__init__.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert availability.damaged_wheels() == ["ros-broken"]


def test_a_child_that_ends_is_reported_with_its_last_words(tmp_path):
    (tmp_path / "speaks.py").write_text("import sys\nprint('first')\nsys.exit('error: out of cheese')\n")
    child = Child("helper", "this", [], domain=5, log=tmp_path / "log" / "child.txt")
    child.process.wait()
    with pytest.raises(UserError, match=r"helper ended with status 0: .*more of those"):
        child.require_alive()
    child.end()


def test_a_child_is_ended_even_when_it_does_not_listen(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "END_TIMEOUT", 0.1)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    code = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('deaf')\ntime.sleep(60)\n"
    (tmp_path / "deaf_child.py").write_text(code)
    child = Child("deaf", "deaf_child", ["--x"], domain=5, log=tmp_path / "log.txt")
    while "deaf" not in (tmp_path / "log.txt").read_text():
        child.require_alive()
    child.end()
    assert child.process.returncode == -9


@pytest.mark.parametrize("dds", processes.PREFIXES)
def test_sweeping_removes_only_what_is_named(tmp_path, monkeypatch, dds):
    monkeypatch.setattr(processes, "SHARED_MEMORY", tmp_path)
    port = domain.FIRST_PORT + domain.PORTS_PER_DOMAIN * 7 + 11
    mine = [f"{dds}_abc", f"{dds}_abc_el", f"{dds}_port{port}", f"sem.{dds}_port{port}_mutex"]
    others = [f"{dds}_def", f"{dds}_port7411", "something"]
    for name in (*mine, *others):
        (tmp_path / name).touch()
    removed = sweep([tmp_path / f"{dds}_abc", tmp_path / f"{dds}_port7411"], domain=7)
    assert {path.name for path in removed} == set(mine)
    assert {path.name for path in tmp_path.iterdir()} == set(others)


def test_the_shared_memory_of_a_process_is_found_whatever_version_made_it():
    maps = "7f0-7f1 rw-s 0 00:1a 7 /dev/shm/{}_0abc\n"
    text = "".join(maps.format(dds) for dds in (*processes.PREFIXES, "other"))
    assert re.findall(processes.SEGMENT, text) == ["fastrtps_0abc", "fastdds_0abc"]
