"""What the bundle's monitor says, on ~/progress and in the diagnostics; where it is told to, it ends the episode.

~/progress (std_msgs/Float64MultiArray)    one number for each of `FIELDS`, which are the layout's label
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from std_msgs.msg import Float64MultiArray, MultiArrayDimension, MultiArrayLayout

from robolearn.monitoring import FAILED, OUTCOMES, SUCCESS
from robolearn.real.bundle import Bundle
from robolearn.real.monitor import Watching, sentence
from robolearn.real.ros2.wiring import one_of
from robolearn.real.watching import Report
from robolearn.real.worker import InferenceWorker

FIELDS = ("step", "stage", "progress", "success", "verdict", "verdict_stage", "confidence", "kind", "kind_probability")
ACTIONS = ("report", "stop")
FAULT = "monitor_fault"  # among the diagnostics


def stops(options: Mapping[str, Any]) -> bool:
    """Return whether the node's options say that a verdict ends the episode.

    Raises:
        UserError: they say neither.
    """
    return one_of("monitor_action", options["monitor_action"], ACTIONS) == "stop"


def monitor_topic(
    node: Any, bundle: Bundle, worker: InferenceWorker, *, ends: Callable[[], bool] | None
) -> MonitorTopic | None:
    """Publish what a bundle's monitor says; None where it has none. See `MonitorTopic`."""
    if bundle.monitor is None:
        return None
    return MonitorTopic(node, watching=bundle.monitor, worker=worker, fps=bundle.schema.fps, ends=ends)


class MonitorTopic:
    """Publishes reports."""

    def __init__(
        self,
        node: Any,
        *,
        watching: Watching,
        worker: InferenceWorker,
        fps: int,
        ends: Callable[[], bool] | None,
    ) -> None:
        """Advertise, and look for reports `fps` times a second.

        Args:
            node: a `robolearn.real.ros2.managed` one.
            watching: the bundle's monitor.
            worker: whose process it runs in.
            fps: of the control steps, Hz.
            ends: whether a success or a failure may end the episode now, by the normal stop; None only reports.
        """
        self._node, self._watching, self._worker, self._ends = node, watching, worker, ends
        self._newest: Report | None = None
        self._acted = -1  # epoch
        self._publisher = node.create_publisher(Float64MultiArray, "~/progress", 10)
        node.create_timer(1.0 / fps, self.publish)

    def publish(self) -> None:
        """Publish what has been said since the last call; act on it."""
        for report in self._worker.reports():
            self._newest = report
            self._publisher.publish(message_of(report))
            if self._ends is None or report.person or report.epoch == self._acted:
                continue  # what a person does is theirs to judge
            if report.verdict.outcome in (SUCCESS, FAILED) and self._ends():
                self._acted = report.epoch
                self._node.get_logger().info(f"the episode ends: {self._said(report)}")
                self._node.deactivate()

    def details(self) -> dict[str, str]:
        """The newest report, for the diagnostics."""
        report = self._newest
        if report is None:
            return {}
        values = {"monitor": self._said(report), "monitor_progress": f"{report.progress.value:.3f}"}
        if report.kind >= 0:
            kind = self._watching.estimator.kinds[report.kind]
            values["monitor_kind"] = f"{kind} ({report.kind_probability:.0%})"
        return values | ({FAULT: report.fault} if report.fault else {})

    def _said(self, report: Report) -> str:
        return sentence(report.verdict, self._watching.estimator.stage_names)


def message_of(report: Report) -> Float64MultiArray:
    """Return the message of a report: see `FIELDS`; the verdict is its place in `robolearn.monitoring.OUTCOMES`."""
    progress, verdict = report.progress, report.verdict
    values = (
        report.tick,
        progress.stage,
        progress.value,
        progress.success,
        OUTCOMES.index(verdict.outcome),
        verdict.stage,
        verdict.confidence,
        report.kind,
        report.kind_probability,
    )
    size = len(FIELDS)
    layout = MultiArrayLayout(dim=[MultiArrayDimension(label=",".join(FIELDS), size=size, stride=size)])
    return Float64MultiArray(layout=layout, data=[float(value) for value in values])
