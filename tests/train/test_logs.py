"""Figures of a training go to TensorBoard and Weights & Biases."""

import importlib.util
import json
import sys
from types import SimpleNamespace

import pytest
from toy_training import make_policy, run

from robolearn.errors import UserError
from robolearn.train.logs import Meter, open_logs
from robolearn.train.trainer import LOG_EVERY


def test_a_meter_tells_means_and_speed(monkeypatch):
    told, now = [], iter([0.0, 4.0, 10.0, 12.0, 13.0, 20.0])
    monkeypatch.setattr("robolearn.train.logs.time.perf_counter", lambda: next(now))
    meter = Meter(lambda step, figures: told.append((step, figures)), every=2)
    for step, loss in ((1, 3.0), (2, 1.0), (3, 5.0)):
        meter.add(step, samples=8, rate=0.1, loss=loss)
    first = {"train/loss": 2.0, "train/learning_rate": 0.1, "train/samples_per_s": 4.0}
    assert told == [(2, first)]
    meter.restart()  # what came before is not counted
    meter.add(4, samples=8, rate=0.1, loss=7.0)
    assert told[1] == (4, {**first, "train/loss": 7.0, "train/samples_per_s": 8.0})


def test_a_training_tells_its_figures(tmp_path):
    told = []
    run(
        make_policy(),
        tmp_path,
        steps=2 * LOG_EVERY,
        evaluate=lambda step: {"success": step / 1000},
        evaluate_every=LOG_EVERY + 10,
        log=lambda step, figures: told.append((step, figures)),
    )
    train = {"train/loss", "train/grad_norm", "train/learning_rate", "train/samples_per_s"}
    steps = [LOG_EVERY, LOG_EVERY + 10, 2 * LOG_EVERY, 2 * LOG_EVERY]
    assert [(step, set(figures)) for step, figures in told] == [
        (steps[0], train),
        (steps[1], {"eval/success"}),
        (steps[2], train),
        (steps[3], {"eval/success"}),
    ]
    assert told[1][1] == {"eval/success": 0.06}
    assert all(value > 0 for _, figures in told for value in figures.values())


def test_tensorboard_reads_the_figures_and_forgets_what_comes_again(tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for steps, value in (((10, 20, 30), 1.0), ((20, 30, 40), 2.0)):  # killed after 30, resumed from 10
        with open_logs(tmp_path, tensorboard=None, wandb=None, settings={}) as log:
            for step in steps:
                log(step, {"train/loss": value})
    accumulator = events.EventAccumulator(str(tmp_path / "tensorboard"))
    accumulator.Reload()
    told = [(event.step, event.value) for event in accumulator.Scalars("train/loss")]
    assert told == [(10, 1.0), (20, 2.0), (30, 2.0), (40, 2.0)]


class FakeRun:
    def __init__(self) -> None:
        self.logged, self.metrics, self.finished = [], [], False

    def define_metric(self, name, step_metric):
        self.metrics.append((name, step_metric))

    def log(self, figures):
        self.logged.append(figures)

    def finish(self):
        self.finished = True


def test_weights_and_biases_goes_on_with_the_same_run(tmp_path, monkeypatch):
    begun = []

    def init(**options):
        begun.append((options, FakeRun()))
        return begun[-1][1]

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    for step in (5, 3):
        with open_logs(tmp_path, tensorboard=False, wandb="arm", settings={"seed": 1}) as log:
            log(step, {"train/loss": 0.5})
    (first, run_one), (second, run_two) = begun
    assert first == second
    kept = json.loads((tmp_path / "wandb.json").read_text())
    assert first == {
        "project": "arm",
        "dir": str(tmp_path),
        "id": kept["id"],
        "resume": "allow",
        "config": {"seed": 1},
    }
    assert run_one.metrics == [("*", "step")]
    assert run_one.logged == [{"step": 5, "train/loss": 0.5}]
    assert run_two.logged == [{"step": 3, "train/loss": 0.5}]
    assert run_one.finished


@pytest.mark.skipif(
    importlib.util.find_spec("wandb") is None, reason="W&B is optional: with `pip install wandb` this runs the real one"
)
def test_weights_and_biases_works_offline(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    with open_logs(tmp_path, tensorboard=False, wandb="arm", settings={"seed": 1}) as log:
        log(1, {"train/loss": 0.5})
    assert list((tmp_path / "wandb").glob("offline-run-*/*.wandb"))


@pytest.mark.parametrize(
    ("package", "options", "without"),
    [
        ("tensorboard", {"tensorboard": True, "wandb": None}, "train.tensorboard=false"),
        ("wandb", {"tensorboard": False, "wandb": "arm"}, "train.wandb=null"),
    ],
)
def test_a_missing_package_is_named(tmp_path, monkeypatch, package, options, without):
    monkeypatch.setitem(sys.modules, package, None)
    with (
        pytest.raises(UserError, match=f"the package '{package}' is missing: `pip install {package}`, or {without}"),
        open_logs(tmp_path, settings={}, **options),
    ):
        pass


def test_without_tensorboard_nothing_is_told_unless_it_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with open_logs(tmp_path, tensorboard=None, wandb=None, settings={}) as log:
        log(1, {"train/loss": 1.0})
    assert not list(tmp_path.iterdir())
