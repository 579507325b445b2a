"""Chunks that arrive late, joined by time into one plan. Pure: control steps in, actions out."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.execution import BLENDING, ENSEMBLING, RTC, Execution
from robolearn.inpainting import Inpainter
from robolearn.on_top import BestOf, Steered
from robolearn.protocols import Policy

Array = NDArray[np.float32]


class Planned(NamedTuple):
    """Actions [m, action_dim] for the control steps from `begin` on."""

    begin: int
    values: Array

    @property
    def end(self) -> int:
        """The first control step without an action."""
        return self.begin + len(self.values)

    def rest(self, step: int) -> Array:
        """What is planned from a control step on, which does not lie before it."""
        return self.values[step - self.begin :]


class Stitcher:
    """Says when to infer and what to do in each control step.

    Attributes:
        asked: control step whose observation is being inferred from, or None.
        newest: that of the newest chunk in the plan; -1 before the first.
    """

    def __init__(self, execution: Execution, policy: Policy) -> None:
        """Join the chunks of `policy`."""
        self._execution, self._interval = execution, interval_of(execution, policy)
        self._empty = np.zeros((0, policy.schema.action.shape[0]), np.float32)
        self._delays: deque[int] = deque(maxlen=execution.delay_buffer)
        self.reset()

    def reset(self) -> None:
        """Forget plan and delays."""
        self.drop()
        self._delays.clear()

    def drop(self) -> None:
        """Forget the plan and what is being inferred."""
        self.asked: int | None = None
        self.newest = -1
        self._plan = Planned(0, self._empty)
        self._chunks: list[Planned] = []

    def due(self, step: int) -> bool:
        """Whether to infer from the observation of a control step."""
        if self.asked is not None:
            return False
        every = 1 if self._execution.execution == ENSEMBLING else self._interval
        return self.newest < 0 or step - self.newest >= every

    def ask(self, step: int) -> None:
        """A chunk is being inferred from the observation of a control step."""
        self.asked = step

    def left_over(self, step: int) -> Array | None:
        """What a chunk for the control steps from `step` on has to go on with, [m, action_dim]; None if nothing."""
        rest = self.actions(step)
        return rest if self._execution.execution == RTC and len(rest) else None

    @property
    def delay(self) -> int:
        """Control steps that an inference takes: the longest of the last ones."""
        return max(self._delays, default=0)

    def put(self, values: Array, step: int) -> None:
        """Join the chunk that was asked for, [horizon, action_dim], from control step `step` on."""
        assert self.asked is not None, "a chunk that was not asked for"
        chunk = Planned(self.asked, values)
        if not chunk.begin < self._plan.end <= step:  # an inference that outlasts the plan is no measure of the others
            self._delays.append(step - chunk.begin)
        old, new = self.actions(step), chunk.rest(step)
        if self._execution.execution == ENSEMBLING:
            self._chunks = [*(kept for kept in self._chunks if kept.end > step), chunk]
            new = ensembled(self._chunks, step, decay=self._execution.ensembling_decay)
        elif self._execution.execution == BLENDING:
            # no longer than until the next chunk, or none would ever be executed as it is
            new = crossfaded(old, new, steps=min(self._execution.blending_steps, self._interval))
        self._plan, self.newest, self.asked = Planned(step, new), chunk.begin, None

    def actions(self, step: int) -> Array:
        """What is planned from a control step on, [m, action_dim]; empty where the plan has run out."""
        return self._plan.rest(step)


def crossfaded(old: Array, new: Array, *, steps: int) -> Array:
    """Return `new` [m, action_dim] with a linear passage of `steps` actions from `old` [n, action_dim] at its begin."""
    count = min(steps, len(old), len(new))
    share = (np.arange(1, count + 1, dtype=np.float32) / (count + 1))[:, None]
    faded = new.copy()
    faded[:count] = (1 - share) * old[:count] + share * new[:count]
    return faded


def ensembled(chunks: Sequence[Planned], step: int, *, decay: float) -> Array:
    """Average chunks [horizon, action_dim], oldest first, over those that reach each control step from `step` on.

    Weights are exp(-decay i), i = 0 for the oldest that reaches it (Zhao et al. 2023, algorithm 2).
    """
    newest = chunks[-1].rest(step)
    total, weights = np.zeros_like(newest), np.zeros((len(newest), 1), np.float32)
    younger = np.zeros(len(newest))  # than the oldest that reaches each step; all are equally long
    for chunk in chunks:
        rest = chunk.rest(step)[: len(newest)]
        weight = np.exp(-decay * younger[: len(rest), None]).astype(np.float32)
        total[: len(rest)] += weight * rest
        weights[: len(rest)] += weight
        younger[: len(rest)] += 1
    return total / weights


def interval_of(execution: Execution, policy: Policy) -> int:
    """Control steps from one chunk to the next of rtc and blending."""
    return execution.execution_horizon or max(1, policy.n_action_steps // 2)


def require_fit(execution: Execution, policy: Policy) -> None:
    """Check that a policy can be executed so.

    Raises:
        UserError: it cannot; says what else would do.
    """
    interval = interval_of(execution, policy)
    if execution.execution in (RTC, BLENDING) and interval >= policy.horizon:
        raise UserError(
            f"execution={execution.execution} needs chunks that overlap: set execution_horizon below the policy's "
            f"horizon of {policy.horizon}, or use execution=sequential"
        )
    if execution.execution == RTC:
        _require_inpainter(policy)


def _require_inpainter(policy: Policy) -> None:
    if isinstance(policy, BestOf):
        raise UserError(
            f"execution=rtc would have this bundle's critic choose among {policy.candidates} chunks that all go on "
            "with the same actions: use execution=blending or ensembling"
        )
    if isinstance(policy, Steered):
        _require_inpainter(policy.base)
    elif not isinstance(policy, Inpainter):
        raise UserError(
            "execution=rtc draws chunks while they are sampled, but this bundle's policy has no sampler: use "
            "execution=blending or ensembling"
        )
