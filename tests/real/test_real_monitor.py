"""A bundle's monitor: its graph, and the thread that it runs in beside inference."""

import json
import threading
import time

import numpy as np
import pytest
from bundle_factory import write_bundle
from hypothesis import given, settings
from hypothesis import strategies as st
from monitor_factory import KINDS, RULES, add_monitor

from robolearn.bundle_format import MONITOR
from robolearn.errors import UserError
from robolearn.monitoring import OUTCOMES, Verdict
from robolearn.protocols import ProgressEstimator
from robolearn.real.bundle import load_bundle
from robolearn.real.messages import OBSERVE, REQUEST, RESET, TELL, WATCH, pack
from robolearn.real.monitor import Watching
from robolearn.real.watching import MOST_WAITING, Report, Watcher
from robolearn.real.worker import InferenceWorker
from robolearn.schema import Progress


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return add_monitor(write_bundle(tmp_path_factory.mktemp("monitored") / "b"))


@pytest.fixture(scope="module")
def bundle(path):
    return load_bundle(path)


def observation(schema, place):
    return {key: np.full(schema[key].shape, place, np.float32) for key in schema.observation_keys}


def test_the_graph_says_progress_and_kinds_and_carries_its_state(bundle):
    estimator = bundle.monitor.estimator
    assert isinstance(estimator, ProgressEstimator)
    for _ in range(2):
        estimator.reset()
        told = [estimator.update(observation(bundle.schema, place), "lift") for place in (0.2, 0.4, 0.7)]
        assert [one.value for one in told] == pytest.approx([0.2, 0.4, 0.7])
        assert [one.stage for one in told] == [0, 0, 1]
        assert told[-1].success == pytest.approx(0.7)
        np.testing.assert_allclose(estimator.kind, (0.7, 0.3, 0.0), atol=1e-6)
    assert (estimator.kinds, bundle.monitor.settings) == (KINDS, RULES)


def test_a_bundle_without_one_has_none(tmp_path):
    assert load_bundle(write_bundle(tmp_path / "b")).monitor is None


def test_a_changed_or_missing_monitor_is_refused(tmp_path):
    path = add_monitor(write_bundle(tmp_path / "b"))
    content = (path / MONITOR).read_bytes()
    (path / MONITOR).write_bytes(content[:-1] + b"#")
    with pytest.raises(UserError, match=r"monitor\.onnx is changed"):
        load_bundle(path)
    (path / MONITOR).write_bytes(content)
    manifest = json.loads((path / "manifest.json").read_text())
    for change, message in (
        ({"kinds": []}, "other outputs"),
        ({"channels": ["observation.state"]}, "unknown input"),
        ({"settings": {}}, "no settings of a monitor"),
        ({"snippet": None}, "is damaged"),
    ):
        damaged = {**manifest, "monitor": manifest["monitor"] | change}
        (path / "manifest.json").write_text(json.dumps(damaged))
        with pytest.raises(UserError, match=message):
            load_bundle(path)
    del manifest["files"][MONITOR]
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=r"does not list 'monitor\.onnx'"):
        load_bundle(path)


@given(
    st.integers(0, 2**40),
    st.integers(0, 2**40),
    st.booleans(),
    st.sampled_from(OUTCOMES),
    st.floats(0, 1),
    st.text(max_size=20),
)
@settings(max_examples=30, deadline=None)
def test_reports_come_back_as_they_went(epoch, tick, person, outcome, share, fault):
    report = Report(epoch, tick, person, Progress(2, share, share), Verdict(outcome, 1, share), -1, share, fault)
    assert Report.unpack(report.pack()) == report


class Watched:
    """A watcher, and what it has reported."""

    def __init__(self, bundle, estimator=None):
        self.schema, self.reports = bundle.schema, []
        watching = bundle.monitor if estimator is None else Watching(estimator, bundle.monitor.settings)
        self.watcher = Watcher(watching, bundle.schema, instruction="lift", send=self._take)
        self.watcher.start()

    def _take(self, data):
        self.reports.append(Report.unpack(data))

    def see(self, *places, epoch=1, first=0, kind=OBSERVE):
        messages = [
            REQUEST.pack(kind, epoch, first + i) + pack(self.schema, observation(self.schema, place))
            for i, place in enumerate(places)
        ]
        self.watcher.handle(messages)

    def tell(self, kind, epoch, instruction):
        self.watcher.handle([REQUEST.pack(kind, epoch, 0) + instruction.encode()])


class Fake:
    """An estimator that does as it is told."""

    kinds, stage_names, kind = (), ("move",), np.zeros(0, np.float32)

    def __init__(self, update):
        self._update, self.instructions = update, []

    def reset(self):
        pass

    def update(self, observation, instruction):
        self.instructions.append(instruction)
        return self._update(float(observation["observation.state"][0]))


def test_every_observation_of_an_activation_is_reported(bundle):
    watched = Watched(bundle)
    watched.tell(RESET, 1, "lift")
    watched.see(0.2, 0.5, 0.95, 0.95)
    watched.see(0.5, epoch=0)  # of an older one
    watched.see(0.96, first=4, kind=WATCH)
    watched.tell(RESET, 2, "lift")
    watched.see(0.3, epoch=2)
    watched.watcher.close()
    assert [(one.epoch, one.tick, one.person) for one in watched.reports] == [
        *((1, tick, False) for tick in range(4)),
        (1, 4, True),
        (2, 0, False),
    ]
    assert [one.verdict.outcome for one in watched.reports] == ["running"] * 3 + ["success"] * 2 + ["running"]
    assert watched.reports[3].verdict.confidence == 0.75
    assert watched.reports[-1].progress.value == pytest.approx(0.3)
    assert [one.kind for one in watched.reports] == [-1] * 6
    assert watched.reports[-1].kind_probability == pytest.approx(0.9)
    assert not any(one.fault for one in watched.reports)


def test_it_is_told_what_the_policy_is_told(bundle):
    fake = Fake(lambda place: Progress(0, place, 0.0))
    watched = Watched(bundle, fake)
    watched.tell(RESET, 1, "put it down")
    watched.see(0.1)
    watched.tell(TELL, 1, "hebe ihn auf, schön")
    watched.see(0.1)
    watched.watcher.close()
    assert fake.instructions == ["put it down", "hebe ihn auf, schön"]


def test_a_failure_is_told_and_ends_with_the_next_activation(bundle):
    def update(place):
        if place > 0.5:
            raise RuntimeError("broken")
        return Progress(0, place if place >= 0 else float("nan"), 0.0)

    watched = Watched(bundle, Fake(update))
    watched.tell(RESET, 1, "lift")
    watched.see(0.1, 0.9, 0.2)
    watched.tell(RESET, 2, "lift")
    watched.see(0.2, -1.0, 0.3, epoch=2)
    watched.watcher.close()
    faults = [one.fault for one in watched.reports]
    assert faults == ["", "it failed: broken", "it failed: broken", "", *["it gave a progress that is no number"] * 2]
    assert [one.progress.value for one in watched.reports] == pytest.approx([0.1] * 3 + [0.2] * 3)  # the last known


def test_nobody_waits_for_a_slow_one(bundle):
    free = threading.Event()
    watched = Watched(bundle, Fake(lambda place: free.wait(20) and Progress(0, place, 0.0)))
    watched.tell(RESET, 1, "lift")
    begin = time.perf_counter()
    for tick in range(3 * MOST_WAITING):
        watched.see(0.1, first=tick)
    assert time.perf_counter() - begin < 2.0
    free.set()
    watched.watcher.close()
    assert MOST_WAITING - 1 <= len(watched.reports) <= MOST_WAITING + 1
    assert all("left out: it is too slow" in one.fault for one in watched.reports[1:])


def wait_for(condition):
    limit = time.monotonic() + 60
    while not (found := condition()):
        assert time.monotonic() < limit
        time.sleep(0.005)
    return found


def test_the_inference_process_answers_and_reports(bundle):
    worker = InferenceWorker(bundle)
    worker.start()
    try:
        reports = []
        for epoch in (1, 2):
            worker.reset(epoch=epoch, seed=0)
            reports.clear()
            for tick in range(4):
                worker.ask(tick, observation(bundle.schema, 0.95))
                assert wait_for(worker.poll).tick == tick
            wait_for(lambda: reports.extend(worker.reports()) or len(reports) == 4)
            assert [(one.epoch, one.tick) for one in reports] == [(epoch, tick) for tick in range(4)]
            assert [one.verdict.outcome for one in reports] == ["running", *["success"] * 3]
    finally:
        worker.close()
