"""~/progress, the diagnostics and the end of an episode by a verdict."""

from types import SimpleNamespace
from unittest.mock import Mock

import pytest

pytest.importorskip("rclpy")

from robolearn.errors import UserError
from robolearn.monitoring import Verdict
from robolearn.real.ros2.monitoring import FIELDS, MonitorTopic, message_of, monitor_topic, stops
from robolearn.real.watching import Report
from robolearn.schema import Progress

pytestmark = pytest.mark.ros
WATCHING = SimpleNamespace(estimator=SimpleNamespace(stage_names=("reach", "lift"), kinds=("slip", "no_grasp")))


def report(outcome, *, epoch=1, tick=7, person=False, kind=1, fault=""):
    return Report(epoch, tick, person, Progress(1, 0.6, 0.2), Verdict(outcome, 1, 0.9), kind, 0.8, fault)


class Toy:
    """A topic whose worker reports what it is given."""

    def __init__(self, *, ends):
        self.node, self.waiting = Mock(), []
        worker = SimpleNamespace(reports=self._reports)
        self.topic = MonitorTopic(self.node, watching=WATCHING, worker=worker, fps=20, ends=ends)

    def _reports(self):
        found, self.waiting = self.waiting, []
        return found

    def says(self, *reports):
        self.waiting = list(reports)
        self.topic.publish()
        return self.node.deactivate.call_count


def test_every_report_is_a_message_with_names():
    toy = Toy(ends=None)
    toy.says(report("running"), report("stalled", tick=8))
    (first,), (second,) = (call.args for call in toy.node.create_publisher().publish.call_args_list)
    assert first.layout.dim[0].label.split(",") == list(FIELDS)
    assert first.layout.dim[0].size == len(first.data) == len(FIELDS)
    assert dict(zip(FIELDS, second.data, strict=True)) == {
        "step": 8,
        "stage": 1,
        "progress": 0.6,
        "success": 0.2,
        "verdict": 2,
        "verdict_stage": 1,
        "confidence": 0.9,
        "kind": 1,
        "kind_probability": 0.8,
    }
    assert message_of(report("failed")).data[4] == 4


def test_who_only_reports_never_ends_an_episode():
    assert Toy(ends=None).says(report("success"), report("failed")) == 0


@pytest.mark.parametrize("outcome", ["success", "failed"])
def test_an_episode_is_ended_once(outcome):
    toy = Toy(ends=lambda: True)
    assert toy.says(report("running"), report("stalled"), report("lost")) == 0
    assert toy.says(report(outcome), report(outcome)) == 1
    assert toy.says(report(outcome)) == 1
    assert toy.says(report(outcome, epoch=2)) == 2


def test_neither_a_person_nor_a_fault_is_stopped():
    active = False
    toy = Toy(ends=lambda: active)
    assert toy.says(report("failed")) == 0
    active = True
    assert toy.says(report("failed", person=True)) == 0
    assert toy.says(report("failed")) == 1


def test_the_diagnostics_say_it_in_words():
    toy = Toy(ends=None)
    assert toy.topic.details() == {}
    toy.says(report("failed"))
    assert toy.topic.details() == {
        "monitor": "failed in stage 'lift' (90% sure)",
        "monitor_progress": "0.600",
        "monitor_kind": "no_grasp (80%)",
    }
    toy.says(report("running", kind=-1, fault="it failed: broken"))
    assert toy.topic.details()["monitor_fault"] == "it failed: broken"
    assert "monitor_kind" not in toy.topic.details()


def test_without_a_monitor_there_is_no_topic():
    assert monitor_topic(Mock(), SimpleNamespace(monitor=None), Mock(), ends=None) is None
    assert stops({"monitor_action": "stop"})
    assert not stops({"monitor_action": "report"})
    with pytest.raises(UserError, match="report"):
        stops({"monitor_action": "reprot"})
