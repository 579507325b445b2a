"""An arm, a control node and an observer, each in a process of its own, for what may befall them."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from robolearn.real.ros2.episodes import Session
    from robolearn.real.ros2.processes import Child
    from robolearn.real.settings import Settings
    from robolearn.safety_settings import SafetySettings

MOVING = 100  # commands after which an episode is under way
NEWS = 5.0  # s that a state may take to be told
STILL = 0.1  # s without motion at the end of a watch, of an arm that has stopped
GONE = "gone"  # state of a node that tells nothing any more


class Rig:
    """A context manager that leaves nothing behind.

    Attributes:
        session: arm and node.
        findings: of the observer, once all is over; see `robolearn.real.audit.Findings`.
        times: when each command reached the arm [n], monotonic, s; likewise.
        commands: [n, n_joints + 1].
    """

    def __init__(self, bundle: Path, *, task: str, out: Path, safety: Mapping[str, Any]) -> None:
        """Prepare to run a bundle of the Panda; `safety` is of `SafetySettings`."""
        from robolearn.real.ros2.domain import choose_domain
        from robolearn.real.settings import Settings
        from robolearn.safety_settings import SafetySettings

        self._domain, self._report, self._log = choose_domain(None), out / "observer.json", out / "log" / "observer.txt"
        self.session = simulated_session(
            bundle, task=task, out=out, safety=SafetySettings(**safety), domain=self._domain
        )
        words = {"--bundle": bundle, "--rate": Settings.rate, "--out": self._report}
        self._words = [str(text) for pair in words.items() for text in pair]
        self._told: list[tuple[float, str, str]] = []
        self._count = 0
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        from robolearn.real.ros2.observer import LISTENING
        from robolearn.real.ros2.processes import Child

        with ExitStack() as stack:
            observer = Child(
                "observer", "robolearn.real.ros2.observer", self._words, domain=self._domain, log=self._log
            )
            stack.callback(self._conclude, observer)
            stack.enter_context(self.session)
            self._listen()
            # or the first commands that it hears are of an arm under way
            self.wait(lambda: LISTENING in self._log.read_text(), "the observer")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def begin(self, seed: int, *, moving: bool = True) -> None:
        """Begin an episode, and wait until the arm moves if it is expected to."""
        client = self.session.client
        client.reset(seed)
        client.start()
        self._count = 0
        if moving:
            self.wait(lambda: self._count > MOVING, "the arm to move")

    def fault(self, kind: str, seconds: float) -> None:
        """Begin a fault of the arm's driver; see `robolearn.real.faults`."""
        self._faults.publish(self._string(data=json.dumps({"kind": kind, "seconds": seconds})))

    def signal(self, name: str, number: int) -> None:
        """Send a signal to "arm", "control node" or "inference"."""
        children = self.session.children
        node = children["control node"].process.pid
        os.kill(inference_of(node) if name == "inference" else children[name].process.pid, number)

    def intrude(self) -> None:
        """Be another node that may command the arm."""
        from std_msgs.msg import Float64MultiArray

        from robolearn.real.ros2.simulated_arm import COMMANDS

        self._intruder = self.session.client.node.create_publisher(Float64MultiArray, COMMANDS, 1)

    def withdraw(self) -> None:
        """Be none any more."""
        self.session.client.node.destroy_publisher(self._intruder)

    def press(self, name: str) -> str:
        """Call a service of the node; return why it refused, if it did."""
        from std_srvs.srv import Trigger

        client = self.session.client.node.create_client(Trigger, f"/policy_controller/{name}")
        self.wait(client.service_is_ready, f"service '{name}'")
        future = client.call_async(Trigger.Request())
        self.wait(future.done, f"the answer of '{name}'")
        return str(future.result().message)

    def recover(self) -> None:
        """Wait until the node sees a sound arm again, and stop it."""
        self.spin(0.2)
        self.wait(lambda: not self.session.client.call("stop"), "the arm to come to rest")

    def state(self, since: float) -> tuple[str, str]:
        """State and reason that the node told first after `since`, monotonic, s."""
        later: list[tuple[str, str]] = []

        def told() -> bool:
            later.extend((state, reason) for when, state, reason in self._told if when > since)
            return bool(later)

        with suppress(TimeoutError):
            self.wait(told, "news", timeout=NEWS)
        return later[0] if later else (GONE, "")

    def spin(self, seconds: float) -> None:
        """Let time pass."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.session.client.spin()

    def wait(self, done: Callable[[], bool], what: str, timeout: float = 30.0) -> None:
        """Wait until `done()`.

        Raises:
            TimeoutError: in vain.
        """
        end = time.monotonic() + timeout
        while not done():
            self.session.client.spin()
            if time.monotonic() > end:
                raise TimeoutError(f"waited {timeout:.0f} s in vain for {what}")

    def _listen(self) -> None:
        from diagnostic_msgs.msg import DiagnosticArray
        from std_msgs.msg import Float64MultiArray, String

        from robolearn.real.ros2.simulated_arm import COMMANDS, FAULT

        node, self._string = self.session.client.node, String
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        node.create_subscription(Float64MultiArray, COMMANDS, self._on_command, 10)
        self._faults = node.create_publisher(String, FAULT, 10)
        self.wait(lambda: self._faults.get_subscription_count() > 0, "the arm's ear for faults")

    def _on_diagnostics(self, message: Any) -> None:
        for status in message.status:
            state, _, reason = status.message.partition(": ")
            self._told.append((time.monotonic(), state, reason))

    def _on_command(self, message: Any) -> None:
        self._count += 1

    def _conclude(self, observer: Child) -> None:
        observer.end()
        if not self._report.exists():
            raise RuntimeError(f"the observer ended without a report: {observer.last_line}")
        self.findings: dict[str, Any] = json.loads(self._report.read_text())
        with np.load(self._report.with_suffix(".npz"), allow_pickle=False) as seen:
            self.times: NDArray[np.float64] = seen["times"]
            self.commands: NDArray[np.float64] = seen["commands"]


def simulated_session(
    bundle: Path,
    *,
    task: str,
    out: Path,
    settings: Settings | None = None,
    safety: SafetySettings | None = None,
    domain: int | None = None,
) -> Session:
    """A simulated Panda and the control node, not started yet; in a free ROS domain when None."""
    from robolearn.real.ros2.domain import choose_domain
    from robolearn.real.ros2.episodes import Session
    from robolearn.real.settings import Settings

    return Session(
        bundle,
        out=out,
        settings=Settings() if settings is None else settings,
        safety=safety,
        plant="robolearn.sim.ros_arm",
        task=task,
        robot="panda",
        domain=choose_domain(domain),
    )


def inference_of(node: int) -> int:
    """Process id of a control node's inference.

    Raises:
        RuntimeError: it has none.
    """
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError, IndexError):
            # the name, which may have blanks, ends with the last parenthesis
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == node and b"spawn_main" in (entry / "cmdline").read_bytes():
                return int(entry.name)
    raise RuntimeError(f"process {node} has no inference process")


def stopped_after(times: NDArray[np.float64], commands: NDArray[np.float64], *, since: float, until: float) -> float:
    """Seconds from `since` to the last command that differs from the one before it; infinite where they go on.

    Args:
        times: when commands came [n].
        commands: [n, n_joints + 1].
        since: what happened then.
        until: how long it was waited for.
    """
    moves = np.flatnonzero((np.diff(commands, axis=0) != 0).any(axis=1)) + 1
    within = times[moves][(times[moves] > since) & (times[moves] <= until)]
    if not len(within):
        return 0.0
    return float("inf") if until - within[-1] < STILL else float(within[-1] - since)
