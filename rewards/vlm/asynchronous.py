"""A vision-language model beside a simulation: asked now and then, never waited for."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.protocols import Observation
from robolearn.rewards.vlm.answers import AnswerError, Array, Judgement, reward
from robolearn.rewards.vlm.counters import Counters
from robolearn.rewards.vlm.judge import Judge
from robolearn.rewards.vlm.prompts import Image, Scene

UNJUDGED = -1


@dataclass(frozen=True)
class Held:
    """The newest judgement of each world's present episode; NaN before the first.

    Attributes:
        step: [num_envs] control step of the frame that was judged, from 0 at the reset; -1 before the first.
        contrast: [num_envs] -1, 0 or 1, against the frame asked about before that one.
        progress: [num_envs] in [0, 1].
        completed: [num_envs] 0 or 1.
    """

    step: NDArray[np.int64]
    contrast: Array
    progress: Array
    completed: Array

    @property
    def reward(self) -> Array:
        """[num_envs] in [0, 1]; see `robolearn.rewards.vlm.answers.reward`."""
        return reward(self.contrast, self.progress, self.completed)


@dataclass(frozen=True)
class _Query:
    world: int
    epoch: int  # number of the world's episode
    step: int
    time: float
    scene: Scene


class AsyncProgress:
    """Asks about every `every`-th frame of each world and holds what was answered last.

    A frame waits until a thread is free, and that takes the oldest ones of up to `batch` worlds at a time. Should a
    world's next frame come first, it takes the place of the one that waits: no more than one frame of each world does.
    A judgement that fails leaves the last one in place. A context manager; see `Counters` for what is counted.

    Attributes:
        stages: a sentence for each step of the task, as the judge has them.
    """

    def __init__(
        self,
        judge: Judge,
        *,
        num_envs: int = 1,
        camera: str = "external",
        every: int = 10,
        batch: int = 16,
        workers: int = 1,
    ) -> None:
        """Start the threads.

        Args:
            judge: answers, slowly.
            num_envs: number of worlds.
            camera: whose pictures are judged; uint8 [num_envs, H, W, 3] in `observation.images.<camera>`.
            every: control steps between frames that are asked about, and between the two that are compared.
            batch: frames that a thread takes at a time.
            workers: threads.
        """
        self.stages = judge.stages
        self._judge, self._tally = judge, judge.tally
        self._num_envs, self._channel, self._every, self._batch = num_envs, f"observation.images.{camera}", every, batch
        self._changed = threading.Condition()
        self._steps, self._epochs = np.zeros(num_envs, np.int64), np.zeros(num_envs, np.int64)
        self._earlier: dict[int, Image] = {}
        self._waiting: dict[int, _Query] = {}  # by world, the oldest first
        self._judging = 0
        self._held = Held(np.full(num_envs, UNJUDGED), *(np.full(num_envs, np.nan) for _ in range(3)))
        self._error: Exception | None = None
        self._closed, self._working = False, workers
        for _ in range(workers):
            threading.Thread(target=self._work, name="robolearn-vlm", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def counters(self) -> Counters:
        """What became of the questions so far."""
        return self._tally.snapshot()

    def reset(self, mask: NDArray[np.bool_] | None = None) -> None:
        """Begin an episode in all worlds, or in those of `mask` [num_envs]; drop what is asked about the old ones."""
        worlds = np.arange(self._num_envs) if mask is None else np.flatnonzero(mask)
        with self._changed:
            self._epochs[worlds] += 1
            self._steps[worlds] = 0
            self._held.step[worlds] = UNJUDGED
            for values in (self._held.contrast, self._held.progress, self._held.completed):
                values[worlds] = np.nan
            for world in worlds.tolist():
                self._earlier.pop(world, None)
                if self._waiting.pop(world, None) is not None:
                    self._tally.add("stale")
            self._changed.notify_all()

    def update(self, observation: Observation, instructions: Sequence[str]) -> Held:
        """Take the next frame of each world and return what is known by now; never waits for an answer.

        Args:
            observation: the channels of all worlds; only the camera's is read.
            instructions: what each world's robot is to do.

        Raises:
            UserError: the observation has no pictures of the camera, or the model will not answer.
            Exception: whatever ended a thread.
        """
        pictures = self._pictures(observation)
        with self._changed:
            self._require_running()
            for world in np.flatnonzero(self._steps % self._every == 0).tolist():
                self._take(world, pictures[world].copy(), instructions[world])
            self._steps += 1
            return self._copy()

    def wait(self, timeout: float | None = None) -> Held:
        """Wait until all frames are judged, for s at most, and return what is known then.

        Raises:
            UserError: the model will not answer.
            Exception: whatever ended a thread.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._error or self._closed or not (self._waiting or self._judging), timeout)
            self._require_running()
            return self._copy()

    def close(self) -> None:
        """Let the threads end when they have got what they are asking for; the last one closes the judge."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _pictures(self, observation: Observation) -> NDArray[np.uint8]:
        if self._channel not in observation:
            raise UserError(f"there is no channel '{self._channel}' to judge: choose a camera that the worlds have")
        pictures = observation[self._channel]
        if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[::3] != (self._num_envs, 3):
            wanted = f"uint8 [{self._num_envs}, H, W, 3]"
            raise UserError(f"channel '{self._channel}' is {pictures.dtype} {pictures.shape}: give {wanted}")
        return pictures

    def _take(self, world: int, current: Image, instruction: str) -> None:
        earlier = self._earlier.get(world)
        self._earlier[world] = current
        if earlier is None:  # at the reset
            return
        self._tally.add("asked")
        if world in self._waiting:
            self._tally.add("replaced")
        scene = Scene(earlier, current, instruction)
        query = _Query(world, int(self._epochs[world]), int(self._steps[world]), time.monotonic(), scene)
        self._waiting[world] = query  # in its predecessor's place, or it might never come to the front
        self._changed.notify()

    def _copy(self) -> Held:
        return Held(*(getattr(self._held, field.name).copy() for field in fields(Held)))

    def _require_running(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        try:
            while queries := self._next():
                self._deliver(queries, self._judge([query.scene for query in queries]))
        except Exception as error:  # `update` raises it
            with self._changed:
                self._error = error
                self._changed.notify_all()
        finally:
            with self._changed:
                self._working -= 1
                last = not self._working
            if last:
                self._judge.close()

    def _next(self) -> list[_Query]:
        """Wait for frames; none once it is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed or self._error)
            if self._closed or self._error:
                return []
            queries = [self._waiting.pop(world) for world in list(self._waiting)[: self._batch]]
            self._judging += len(queries)
            return queries

    def _deliver(self, queries: Sequence[_Query], outcomes: Sequence[Judgement | AnswerError]) -> None:
        with self._changed:
            self._judging -= len(queries)
            for query, outcome in zip(queries, outcomes, strict=True):
                self._tally.took(time.monotonic() - query.time)
                if isinstance(outcome, AnswerError):
                    self._tally.add("failed")
                elif query.epoch != self._epochs[query.world] or query.step <= self._held.step[query.world]:
                    self._tally.add("stale")
                else:
                    self._tally.add("answered")
                    self._hold(query, outcome)
            self._changed.notify_all()

    def _hold(self, query: _Query, judgement: Judgement) -> None:
        self._held.step[query.world] = query.step
        for field in fields(Judgement):
            getattr(self._held, field.name)[query.world] = getattr(judgement, field.name)
