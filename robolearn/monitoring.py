"""From the progress of an episode, frame by frame, to a verdict on it: AHA's monitor (Duan et al. 2024) by plain rules.

All numbers in the rules come from validation episodes: see `robolearn.monitor_fitting`.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from robolearn.errors import UserError
from robolearn.schema import Progress

FILE = "monitor.json"  # beside a reward model
RUNNING, SUCCESS, STALLED, LOST, FAILED = OUTCOMES = ("running", "success", "stalled", "lost", "failed")
UNKNOWN = 0.5  # confidence in what validation never saw


class Verdict(NamedTuple):
    """What is thought of an episode at a frame.

    Attributes:
        outcome: one of `OUTCOMES`: "success", it is done; "stalled", nothing gets better for longer than it ever took;
            "lost", a stage that was complete is no longer; "failed", one of these two, for too long to hope for more.
        stage: in which it is, or in which the trouble began.
        confidence: how often such a verdict was right on validation episodes, in [0, 1].
    """

    outcome: str
    stage: int
    confidence: float


class Judged(NamedTuple):
    """A verdict without a confidence; `score` is what that rests on, higher where the verdict is surer."""

    outcome: str
    stage: int
    score: float


@dataclass(frozen=True, kw_only=True)
class MonitorSettings:
    """Numbers of the rules; frames are those of the dataset's rate.

    Attributes:
        num_stages: of the task.
        done_at: probability of success from which a frame counts as done.
        done_frames: of these in a row make a success, and as many others end it.
        held_frames: in a row for which a stage, a rise or a fall must last to count.
        eps: progress that does not rise by more stands still, and that does not fall by more loses nothing.
        stall_frames: [num_stages] frames that it may stand still in each stage.
        recovery_frames: that trouble may last before the episode counts as failed.
        confidence: by outcome, lowest scores (rising) and the confidence from each of them on.
    """

    num_stages: int
    done_at: float
    done_frames: int
    held_frames: int
    eps: float
    stall_frames: tuple[int, ...]
    recovery_frames: int
    confidence: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]]

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            UserError: one of them makes no sense.
        """
        if len(self.stall_frames) != self.num_stages or self.num_stages < 1:
            raise UserError(f"the monitor has {len(self.stall_frames)} stall_frames for {self.num_stages} stages")
        if min(self.done_frames, self.held_frames, *self.stall_frames) < 1 or self.recovery_frames < 0:
            raise UserError("the monitor's numbers of frames must be at least 1: train the reward model again")
        if unknown := sorted(set(self.confidence) - set(OUTCOMES)):
            raise UserError(f"the monitor knows no outcome '{unknown[0]}'")
        if any(len(lowest) != len(values) or not lowest for lowest, values in self.confidence.values()):
            raise UserError("the monitor's confidence needs one value for each score: train the reward model again")

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data; `from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote.

        Raises:
            UserError: it lacks something, or a number makes no sense.
        """
        try:
            tables = {name: (tuple(low), tuple(value)) for name, (low, value) in data["confidence"].items()}
            return cls(**{**data, "stall_frames": tuple(data["stall_frames"]), "confidence": tables})
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"these are no settings of a monitor ({error}): train the reward model again") from error

    def save(self, path: Path) -> None:
        """Write JSON."""
        path.write_text(json.dumps(self.to_dict(), indent=2) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            UserError: there is no such file, or it holds something else.
        """
        try:
            return cls.from_dict(json.loads(path.read_text()))
        except (OSError, ValueError) as error:
            raise UserError(f"{path} holds no settings of a monitor ({error}): train the reward model again") from error


class Monitor:
    """Watches one episode at a time; its memory does not grow."""

    def __init__(self, settings: MonitorSettings) -> None:
        """Watch by these numbers."""
        self.settings = settings
        self.reset()

    def reset(self) -> None:
        """Begin an episode."""
        self._stages: deque[int] = deque(maxlen=self.settings.held_frames)
        self._values: deque[float] = deque(maxlen=self.settings.held_frames)
        self._peak = 0  # highest stage that was held
        self._level = -np.inf  # progress at its last rise
        self._still = 0  # frames since then
        self._otherwise = 0  # frames in a row that gainsay `_done`
        self._done = self._lost = self._stalled = False
        self._trouble = 0  # frames that it lasts
        self._where = 0

    def update(self, progress: Progress) -> Verdict:
        """Take what an estimator says of the next frame, and return the verdict on the episode so far."""
        outcome, stage, score = self.judge(progress)
        return Verdict(outcome, stage, self._confidence(outcome, score))

    def judge(self, progress: Progress) -> Judged:
        """Like `update`, for those who find out how sure it is."""
        self._see_done(progress.success)
        self._stages.append(progress.stage)
        self._values.append(progress.value)
        begun = self._see_loss()
        self._see_rise(progress.stage, begun=begun)
        outcome = self._outcome()
        now = min(progress.stage, self.settings.num_stages - 1)
        if outcome in (RUNNING, SUCCESS):
            self._trouble = 0
            limit = self.settings.stall_frames[now]
            return Judged(outcome, now, progress.success if outcome == SUCCESS else -self._still / limit)
        if self._trouble == 0 or begun:
            self._where = now
        self._trouble += 1
        if self._trouble > self.settings.recovery_frames:
            outcome = FAILED
        return Judged(outcome, self._where, self._trouble)

    def _see_done(self, success: float) -> None:
        done = success >= self.settings.done_at
        self._otherwise = 0 if done == self._done else self._otherwise + 1
        if self._otherwise >= self.settings.done_frames:
            self._done, self._otherwise = done, 0

    def _see_loss(self) -> bool:
        """Return whether a stage was lost right now."""
        before = self._lost
        if len(self._stages) < self.settings.held_frames:
            return False
        if min(self._stages) >= self._peak:
            self._peak, self._lost = min(self._stages), False
        elif max(self._stages) < self._peak and max(self._values) < self._level - self.settings.eps:
            self._lost = True
        return self._lost and not before

    def _see_rise(self, stage: int, *, begun: bool) -> None:
        held = min(self._values)
        if self._lost:  # what it climbs back from is its lowest place
            self._level = min(self._level, max(self._values))
        if begun or self._done or held > self._level + self.settings.eps:
            self._level, self._still, self._stalled = held, 0, False
            return
        self._still += 1
        limit = self.settings.stall_frames[min(stage, self.settings.num_stages - 1)]
        self._stalled = self._stalled or self._still > limit

    def _outcome(self) -> str:
        if self._done:
            return SUCCESS
        if self._lost:
            return LOST
        return STALLED if self._stalled else RUNNING

    def _confidence(self, outcome: str, score: float) -> float:
        if outcome not in self.settings.confidence:
            return UNKNOWN
        lowest, values = self.settings.confidence[outcome]
        return values[max(int(np.searchsorted(lowest, score, side="right")) - 1, 0)]
