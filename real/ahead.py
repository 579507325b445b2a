"""The inference process's end of the pipes where chunks are inferred ahead: what is needed now is never waited for.

Every observation is answered at once with what is planned for its control step, corrected by what lies on top of the
policy, which so sees the newest observation in every step. Chunks are inferred meanwhile, in another thread, and join
the plan by time. One that is there within the deadline of its own control step still sets its action in a second
answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robolearn.execution import Execution
from robolearn.inpainting import Inpainter
from robolearn.real.bundle import Bundle
from robolearn.real.server import Server
from robolearn.real.stitching import Stitcher

Array = NDArray[np.float32]


class Inferred(NamedTuple):
    """A chunk [horizon, action_dim] and the s that it took."""

    values: Array
    duration: float


Job = Callable[[], Inferred]


class AheadServer(Server):
    """Real-time chunking, temporal ensembling or blending."""

    def __init__(
        self,
        bundle: Bundle,
        execution: Execution,
        *,
        deadline: float,
        submit: Callable[[Job], Future[Inferred]],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Answer with the bundle's policy and correction.

        Args:
            bundle: of the policy.
            execution: how its chunks follow each other; not sequential.
            deadline: s after its arrival until which an observation's answer is executed in its own control step.
            submit: has a job done by another thread; call `finish` when it is.
            clock: s.
        """
        super().__init__(bundle, inference_delay=execution.inference_delay)
        self._execution, self._stitcher = execution, Stitcher(execution, bundle.policy)
        self._deadline, self._submit, self._clock = deadline, submit, clock
        self._everything = np.arange(1)
        self._inferring: Future[Inferred] | None = None
        self._newest: Mapping[str, NDArray[Any]] = {}
        self._arrived, self._duration = 0.0, 0.0

    def warm_up(self) -> None:
        """See `Server.warm_up`; a chunk that goes on with another has a graph of its own."""
        super().warm_up()
        chunk = self._infer(self.actor.read(), self.actor.draw(self._everything), None, 0).values
        self._infer(self.actor.read(), self.actor.draw(self._everything), chunk, 0)

    def reset(self, seed: int) -> None:
        """Begin an activation; what is being inferred is of no use any more."""
        super().reset(seed)
        self._stitcher.reset()
        self._inferring, self.chunk = None, -1

    def replan(self) -> None:
        """See `Server.replan`; nor does what is being inferred."""
        super().replan()
        self._stitcher.drop()
        self._inferring = None

    def answer(self, tick: int, observation: Mapping[str, NDArray[Any]]) -> bytes:
        """Answer the observation [1, ...] of a control step with the plan, which may be empty."""
        self._arrived, self._newest = self._clock(), observation
        # the history has a frame for every control step, of one that was missed the next one's
        for _ in range(min(tick - self.tick, self.policy.n_obs_steps)):
            self.actor.observe(observation)
        self.tick = tick
        if self._stitcher.due(tick):
            self._begin()
        return self._planned()

    def finish(self) -> bytes | None:
        """Join the chunk that has been inferred; return it as another answer.

        In time it sets this control step's action. Late it answers the step that it was asked for: too old to plan with
        where there are newer answers, but it shows that inference goes on, which ends a hold, in which nobody asks.
        """
        if self._inferring is None or not self._inferring.done():
            return None
        asked = self._stitcher.asked
        assert asked is not None, "what is inferred was asked for"
        chunk, self._inferring = self._inferring.result(), None
        self._duration = chunk.duration
        in_time = self._clock() - self._arrived <= self._deadline
        self._stitcher.put(chunk.values, self.tick if in_time else self.tick + 1)
        self.chunk = self._stitcher.newest
        return self._planned() if in_time else self.packed(chunk.values, duration=self._duration, tick=asked)

    def _begin(self) -> None:
        seen = {key: values.copy() for key, values in self.actor.read().items()}
        noise = self.actor.draw(self._everything)
        left_over, delay = self._stitcher.left_over(self.tick), self._stitcher.delay
        self._stitcher.ask(self.tick)
        self._inferring = self._submit(lambda: self._infer(seen, noise, left_over, delay))

    def _infer(
        self, seen: Mapping[str, NDArray[Any]], noise: Array | None, left_over: Array | None, frozen: int
    ) -> Inferred:
        begin = time.perf_counter()
        if left_over is None or not isinstance(self.policy, Inpainter):
            values = self.policy.predict_chunk(seen, noise).values[0]
        else:
            values = self.policy.predict_guided(
                seen, noise, left_over=left_over[None], frozen=frozen, largest=self._execution.guidance_weight
            ).values[0]
        time.sleep(self._delay)
        return Inferred(values, time.perf_counter() - begin)

    def _planned(self) -> bytes:
        """The plan from this control step on; its first action is corrected with the step's own observation."""
        values = self._stitcher.actions(self.tick)
        if len(values) and (correction := self.actor.correction) is not None:
            values = np.concatenate((correction(self._newest, values[:1]), values[1:]))
        return self.packed(values, duration=self._duration, tick=self.tick)
