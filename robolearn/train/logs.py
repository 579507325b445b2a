"""Where a training's figures go: TensorBoard, Weights & Biases."""

from __future__ import annotations

import importlib
import importlib.util
import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from robolearn.data.files import write_json
from robolearn.errors import UserError

Log = Callable[[int, Mapping[str, float]], None]


class Meter:
    """Means of the figures of training steps, told every so many steps."""

    def __init__(self, log: Log | None, *, every: int) -> None:
        """Tell `log`; without one do nothing."""
        self._log, self._every = log, every
        self.restart()

    def restart(self) -> None:
        """Forget what was counted, e.g. after an evaluation that took time."""
        self._sums: dict[str, float] = {}
        self._steps, self._samples, self._began = 0, 0, time.perf_counter()

    def add(self, step: int, *, samples: int, rate: float, **figures: float) -> None:
        """Take in the step just done: its samples, learning rate and further figures."""
        if self._log is None:
            return
        self._steps += 1
        self._samples += samples
        for name, value in figures.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        if step % self._every == 0:
            means = {f"train/{name}": total / self._steps for name, total in self._sums.items()}
            speed = self._samples / (time.perf_counter() - self._began)
            self._log(step, {**means, "train/learning_rate": rate, "train/samples_per_s": speed})
            self.restart()


@contextmanager
def open_logs(out: Path, *, tensorboard: bool | None, wandb: str | None, settings: Mapping[str, Any]) -> Iterator[Log]:
    """Give a function that takes (steps done, figures) and passes them to every log that is wanted.

    Args:
        out: folder of the run; TensorBoard's files are written to `tensorboard` in it.
        tensorboard: whether to write them; None where the package is installed.
        wandb: project of Weights & Biases, or None.
        settings: of the run, to be shown there.

    Raises:
        UserError: a package is missing.
    """
    with ExitStack() as stack:
        logs: list[Log] = []
        if tensorboard or (tensorboard is None and importlib.util.find_spec("tensorboard")):
            logs.append(stack.enter_context(_tensorboard(out / "tensorboard")))
        if wandb is not None:
            logs.append(stack.enter_context(_wandb(out, wandb, settings)))

        def log(step: int, figures: Mapping[str, float]) -> None:
            for one in logs:
                one(step, figures)

        yield log


@contextmanager
def _tensorboard(folder: Path) -> Iterator[Log]:
    _import("tensorboard", "train.tensorboard=false")
    from torch.utils.tensorboard import SummaryWriter

    writers: list[SummaryWriter] = []

    def log(step: int, figures: Mapping[str, float]) -> None:
        if not writers:
            # what a killed run had told of steps that now come again is hidden
            writers.append(SummaryWriter(folder, purge_step=step))
        for name, value in figures.items():
            writers[0].add_scalar(name, value, step)

    try:
        yield log
    finally:
        for writer in writers:
            writer.close()


@contextmanager
def _wandb(out: Path, project: str, settings: Mapping[str, Any]) -> Iterator[Log]:
    package = _import("wandb", "train.wandb=null")
    kept = out / "wandb.json"
    if not kept.exists():
        write_json(kept, {"id": secrets.token_hex(4)})
    name = json.loads(kept.read_text())["id"]
    run = package.init(project=project, dir=str(out), id=name, resume="allow", config=dict(settings))
    # Weights & Biases' own step cannot go back, as it does where a killed run is resumed
    run.define_metric("*", step_metric="step")
    try:
        yield lambda step, figures: run.log({"step": step, **figures})
    finally:
        run.finish()


def _import(package: str, without: str) -> Any:
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise UserError(f"the package '{package}' is missing: `pip install {package}`, or {without}") from error
