"""Run whole episodes through ROS 2: node and arm in processes of their own, one result file per episode."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from robolearn.errors import UserError
from robolearn.execution import Execution
from robolearn.real.bundle import load_bundle
from robolearn.real.offer import cameras_of
from robolearn.real.record_settings import RecordSettings, require_rosbags
from robolearn.real.ros2.client import Client
from robolearn.real.ros2.domain import choose_domain
from robolearn.real.ros2.processes import Child, shared_memory_of, sweep
from robolearn.real.settings import Settings
from robolearn.real.statistics import summarise, write_json
from robolearn.real.stitching import require_fit
from robolearn.safety_settings import SafetySettings, as_options
from robolearn.schema import Schema

Result = dict[str, Any]
NO_SEED = -1  # ends an episode without beginning another


def run_episodes(
    bundle: Path,
    *,
    seeds: Sequence[int],
    out: Path,
    settings: Settings | None = None,
    execution: Execution | None = None,
    recording: RecordSettings | None = None,
    safety: SafetySettings | None = None,
    plant: str = "robolearn.sim.ros_arm",
    task: str | None = None,
    robot: str | None = None,
    domain_id: int | None = None,
    progress: Callable[[Result], None] | None = None,
) -> Result:
    """Run one episode per seed on the simulated arm and say how they went.

    Each finished episode is a file in `out/episodes`; seeds that have one are not run again, so a killed run goes on
    where it was. `out/trajectories/episode_<seed>.npz` holds what to render.

    Args:
        bundle: folder of the bundle.
        seeds: of the episodes' starts; the same seed starts the same in simulation.
        out: folder for results, trajectories and logs.
        settings: of the control loop.
        execution: how the bundle's chunks follow each other; sequential when None.
        recording: what is recorded, nothing when None; each episode's verdict is said.
        safety: its limits and watchdogs.
        plant: module with `make_plant`, which the arm's process simulates.
        task: name; the bundle's when None.
        robot: name; the bundle's when None.
        domain_id: ROS domain; a free one when None.
        progress: called with each finished episode's result, those of an earlier run included.

    Returns:
        {"episodes": [{"seed", "success", "stage", "elapsed", "loop"}], "successes": int, "loop": summary of
        `robolearn.real.statistics.summarise`}.

    Raises:
        UserError: if the domain is busy, a process ends or the bundle does not fit.
    """
    if not seeds:
        raise UserError("zero episodes: ask for at least one")
    execution = execution or Execution()
    manifest, fps = _checked(bundle, execution)
    files = {seed: out / "episodes" / f"{seed}.json" for seed in seeds}
    results = {seed: json.loads(file.read_text()) for seed, file in files.items() if file.is_file()}
    for result in results.values():
        _report(progress, result)
    if missing := [seed for seed in seeds if seed not in results]:
        limit = manifest["task"]["max_episode_steps"] / fps
        session = Session(
            bundle,
            out=out,
            settings=settings or Settings(),
            execution=execution,
            recording=recording,
            safety=safety,
            plant=plant,
            task=task or manifest["task"]["name"],
            robot=robot or json.loads((bundle / "robot.json").read_text())["name"],
            domain=choose_domain(domain_id),
        )
        with session:
            for seed in missing:
                results[seed] = session.episode(seed, limit=limit)
                write_json(files[seed], results[seed])
                _report(progress, results[seed])
    episodes = [results[seed] for seed in seeds]
    return {
        "episodes": episodes,
        "successes": sum(result["success"] for result in episodes),
        "loop": summarise(result["loop"] for result in episodes),
    }


def _checked(path: Path, execution: Execution) -> tuple[dict[str, Any], int]:
    """Manifest and rate of a bundle that can be executed so; the policy is not kept."""
    bundle = load_bundle(path)
    require_fit(execution, bundle.policy)
    return bundle.manifest, bundle.schema.fps


def _report(progress: Callable[[Result], None] | None, result: Result) -> None:
    if progress is not None:
        progress(result)


class Session:
    """Both processes and the client that directs them; a context manager that leaves nothing behind."""

    def __init__(
        self,
        bundle: Path,
        *,
        out: Path,
        settings: Settings,
        execution: Execution | None = None,
        recording: RecordSettings | None = None,
        plant: str,
        task: str,
        robot: str,
        domain: int,
        safety: SafetySettings | None = None,
    ) -> None:
        """Prepare; nothing starts before `with`."""
        self._recorded = recording is not None and recording.on
        self._statistics = out / "loop.json"
        self._domain = domain
        named = asdict(settings) | asdict(execution or Execution())
        named |= as_options(SafetySettings() if safety is None else safety)
        options = {
            name.replace("_", "-"): str(value).lower() if isinstance(value, bool) else value
            for name, value in named.items()
        }
        node = {"bundle": bundle, "statistics": self._statistics} | options
        if recording is not None and recording.on:
            require_rosbags()
            node |= _recording_options(recording)
        arm = {"plant": plant, "task": task, "robot": robot, "rate": settings.rate, "record": out / "trajectories"}
        schema = Schema.load(bundle / "schema.json")  # the node reads and checks the rest
        cameras = cameras_of(schema)
        if cameras:
            arm |= {"cameras": ",".join(cameras), "image-size": schema[next(iter(cameras.values()))].shape[0]}
        self._commands = {
            "arm": ("robolearn.real.ros2.simulated_arm", arm, out / "log" / "arm.txt"),
            "control node": ("robolearn.real.ros2.policy_controller", node, out / "log" / "policy_controller.txt"),
        }
        self._children: list[Child] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.callback(self._end_children)
            self._client = Client(self._domain)
            stack.callback(self._client.close)
            for name, (module, options, log) in self._commands.items():
                arguments = [text for key, value in options.items() for text in (f"--{key}", str(value))]
                self._children.append(Child(name, module, arguments, domain=self._domain, log=log))
            self._client.watch(self._children)
            self._client.connect()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def client(self) -> Client:
        """Who directs the processes."""
        return self._client

    @property
    def children(self) -> dict[str, Child]:
        """The processes "arm" and "control node"."""
        return dict(zip(self._commands, self._children, strict=True))

    def keep_on(self, seed: int, *, seconds: float) -> Result:
        """Let the policy move the arm for as long, success or not; return the loop's statistics."""
        client = self._begin(seed)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            client.spin()
        client.call("stop")
        return self._loop()

    def episode(self, seed: int, *, limit: float) -> Result:
        """Run one episode for at most `limit` s of the arm's time."""
        client = self._begin(seed)
        news = client.wait_for_end(limit)
        client.call("stop")
        loop = self._loop()
        success = bool(news["success"]) and news["success_at"] <= limit
        if self._recorded:
            client.call("success" if success else "failure")
        client.reset(NO_SEED)  # the arm has written the trajectory when it confirms
        elapsed = news["success_at"] if success else news["elapsed"]
        return {"seed": seed, "success": success, "stage": news["stage"], "elapsed": elapsed, "loop": loop}

    def _begin(self, seed: int) -> Client:
        client = self._client
        client.call("stop")
        client.reset(seed)
        client.start()
        return client

    def _loop(self) -> Result:
        loop: Result = json.loads(self._statistics.read_text())
        return loop

    def _end_children(self) -> None:
        segments = shared_memory_of(child.process.pid for child in self._children)
        for child in reversed(self._children):
            child.end()
        sweep(segments, domain=self._domain)


def _recording_options(recording: RecordSettings) -> dict[str, str | float]:
    return {
        "record": recording.mode,
        "record-folder": recording.folder,
        "ring-seconds": recording.ring_seconds,
        "record-after": recording.after_seconds,
        "record-megabytes": recording.megabytes,
    }
