"""What happens in one control period, without threads or ROS: a function of the time it is given.

Two grids: control steps at the schema's fps, at which an observation goes to inference, and control periods at a
higher rate, at which a position goes to the arm. Step k begins at T_k. Its command is due at T_k+1, on a straight line
in joint space from the position sent at T_k, exactly as in simulation. Until the answer arrives, the arm follows what
the previous plan says for this step, so that it does not stutter while it waits; an answer later than the deadline
only serves as the plan for the next steps.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue

import numpy as np
from numpy.typing import NDArray

from robolearn.action_space import ActionSpace
from robolearn.errors import UserError
from robolearn.motion import MotionLimiter
from robolearn.protocols import Observation
from robolearn.real.chunk_buffer import ChunkBuffer
from robolearn.real.interfaces import Inference, Robot
from robolearn.real.safety import Limits, SafetyFilter
from robolearn.real.state_machine import Event, State, StateMachine
from robolearn.real.statistics import LoopStatistics
from robolearn.schema import ActionChunk, Schema

Array = NDArray[np.float64]
DISPLACED = 0.15  # rad between command and arm after a hold: somebody moved it, do not go on by itself
OUTSIDE = 0.05  # rad that the measured pose may be outside the joint limits at the start
SLACK = 1e-6  # s: periods and steps that coincide must not miss each other by rounding


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Rates and time limits.

    Attributes:
        rate: control periods per second.
        stale_after: age in s of an observation at which the arm holds.
        chunk_timeout: s without any answer from inference until the arm holds.
        deadline: s after the begin of a control step until which its answer is still used for that step.
        seed: of the first activation's noise; later ones count up.
    """

    rate: float = 250.0
    stale_after: float = 0.05
    chunk_timeout: float = 0.5
    deadline: float = 0.02
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("rate", "stale_after", "chunk_timeout", "deadline"):
            if not getattr(self, name) > 0:
                raise UserError(f"{name} must be positive, not {getattr(self, name)}")


@dataclass
class ControlStep:
    """One control step.

    Attributes:
        number: k.
        begin: T_k, monotonic, s.
        observed: when its observation was made, likewise.
        start: position sent at T_k; reference of the command and start of the line.
        measured: joints and width as observed.
        goal: where to be at T_k+1; without an action the previous goal, approached at once.
        aimed: whether an action set the goal, so that there is a line to follow.
        answered: whether its own answer set the goal.
        sent: whether a command has used that answer.
    """

    number: int
    begin: float
    observed: float
    start: Array
    measured: Array
    goal: Array
    aimed: bool = False
    answered: bool = False
    sent: bool = False

    def target(self, when: float, dt: float) -> tuple[Array, Array]:
        """Target and its velocity at time `when` for a control step of `dt` s; the width is a set-point."""
        share = (when - self.begin) / dt
        if not self.aimed or share > 1.0 + SLACK / dt:
            return self.goal, np.zeros_like(self.goal)
        rate = (self.goal - self.start) / dt
        rate[-1] = 0.0
        target = self.start + rate * (when - self.begin)
        target[-1] = self.goal[-1]
        return target, rate


class Controller:
    """State machine, watchdogs, control steps, motion and safety; call `period` at every control period."""

    def __init__(
        self,
        *,
        schema: Schema,
        action_space: ActionSpace,
        robot: Robot,
        inference: Inference,
        settings: Settings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Control `robot` with actions from `inference`, turned into commands by `action_space`.

        `clock` serves the statistics only.
        """
        if settings.rate < schema.fps:
            raise UserError(f"a control rate of {settings.rate} Hz is below the policy's {schema.fps} Hz: raise it")
        self.settings = settings
        self.machine = StateMachine()
        self.statistics = LoopStatistics()
        self.safety = SafetyFilter(Limits.of(action_space.robot, period=1.0 / settings.rate))
        self._dt, self._length = 1.0 / schema.fps, 1.0 / settings.rate
        self._motion = MotionLimiter(action_space.robot, self._length)
        self._space, self._robot, self._inference, self._clock = action_space, robot, inference, clock
        self._names = (*action_space.robot.joint_names, "gripper_width")
        self._measured_at = [schema["observation.state"].names.index(name) for name in self._names]
        self._plan = ChunkBuffer()
        self._requests: SimpleQueue[tuple[Event, Future[str]]] = SimpleQueue()
        self._stopping: list[Future[str]] = []
        self._step: ControlStep | None = None
        self._epoch = 0
        self._begin = self._last_answer = 0.0
        self._moving = self._starved = False
        self._warm_up()

    @property
    def moving(self) -> bool:
        """Whether commands are being sent."""
        return self._moving

    def request(self, event: Event) -> Future[str]:
        """Ask for START or STOP from any thread; the result is "" once done (STOP: at rest), else why not."""
        future: Future[str] = Future()
        self._requests.put((event, future))
        return future

    def _warm_up(self) -> None:
        """Compute once what takes longer the first time."""
        here = np.array((*self._space.robot.home, 0.0))
        self._motion.step(here, 0 * here, here, 0 * here)
        self._space.command(here, here, np.zeros(self._space.feature.shape))

    def period(self, now: float) -> None:
        """Do the control period that begins at `now` (monotonic, s)."""
        self._take_answer(now)
        self._watch(now)
        self._take_request(now)
        if self.machine.state is State.ACTIVE:
            self._advance(now)
        if self.machine.state is State.ACTIVE:
            self._follow(now)
        elif self._moving:
            self._brake()

    # ------------------------------------------------------------ state

    def _take_request(self, now: float) -> None:
        try:
            event, future = self._requests.get_nowait()
        except Empty:
            return
        if event is Event.START:
            future.set_result(self._start(now))
            return
        self.machine.handle(Event.STOP, "stopped")
        self._stopping.append(future)
        if not self._moving:
            self._confirm_stop()

    def _start(self, now: float) -> str:
        if self.machine.state is not State.READY:
            return f"cannot start while {self.machine.state} ({self.machine.reason})"
        if self._moving:
            return "cannot start before the arm has come to rest"
        if not self._inference.alive:
            return "the inference process has ended: restart the node"
        measured = self._measured(self._read()[0])
        limits = self.safety.limits
        for i, name in enumerate(self._names[:-1]):
            if not limits.lower[i] - OUTSIDE <= measured[i] <= limits.upper[i] + OUTSIDE:
                return f"joint '{name}' is at {measured[i]:.3f} rad, outside its limits: move the arm back first"
        # the measured pose, not an old command: the arm must not jump when it is switched on
        self.safety.reset(measured)
        self.statistics = LoopStatistics()
        self.machine.handle(Event.START, "started")
        self._engage(now)
        return ""

    def _engage(self, now: float) -> None:
        self._epoch += 1
        self._inference.reset(epoch=self._epoch, seed=self.settings.seed + self._epoch)
        self._plan.clear()
        self._step = None
        self._begin = self._last_answer = now

    def _confirm_stop(self) -> None:
        for future in self._stopping:
            future.set_result("")
        self._stopping.clear()

    def _watch(self, now: float) -> None:
        state, age = self.machine.state, self._robot.age()
        if not self._inference.alive:
            self.machine.handle(Event.FAULT, "the inference process ended")
        if age is None or age > self.settings.stale_after:
            self._hold("no observation yet" if age is None else f"the observation is {age * 1e3:.0f} ms old")
        elif state is State.ACTIVE and now - self._last_answer > self.settings.chunk_timeout:
            self._starved = True
            self._hold(f"no answer from inference for {now - self._last_answer:.2f} s")
        elif state is State.INACTIVE:
            self.machine.handle(Event.FRESH, "observing")
        elif state is State.HOLD and not self._moving and not self._starved:
            self._resume(now)

    def _hold(self, reason: str) -> None:
        if self.machine.handle(Event.STALE, reason) and self.machine.state is State.HOLD:
            self.statistics.holds += 1

    def _resume(self, now: float) -> None:
        off = np.abs(self._measured(self._read()[0]) - self.safety.position)[:-1]
        worst = int(off.argmax())
        if not off[worst] <= DISPLACED:
            self.machine.handle(Event.FAULT, f"joint '{self._names[worst]}' moved by {off[worst]:.2f} rad in the hold")
            return
        self.machine.handle(Event.FRESH, "the data are fresh again")
        self._engage(now)

    # ------------------------------------------------------------ control steps

    def _read(self) -> tuple[Observation, float]:
        reading = self._robot.read()
        assert reading is not None, "the watchdog asks for an observation first"
        return reading

    def _measured(self, observation: Observation) -> Array:
        return observation["observation.state"][self._measured_at].astype(np.float64)

    def _advance(self, now: float) -> None:
        number = int((now - self._begin + SLACK) / self._dt)
        if self._step is not None and number <= self._step.number:
            return
        observation, age = self._read()
        observed = self._clock() - age
        self._inference.ask(number, observation)
        here = goal = self.safety.position
        if self._step is not None:
            goal = self._step.goal
            self.statistics.late_chunks += not self._step.answered
        begin = self._begin + number * self._dt
        self._step = ControlStep(number, begin, observed, here, self._measured(observation), goal)
        self.statistics.ticks += 1
        if (action := self._plan.action(begin)) is not None:
            self._aim(self._step, action)

    def _take_answer(self, now: float) -> None:
        answer = self._inference.poll()
        if answer is None:
            return
        self._last_answer, self._starved = now, False
        self._plan.put(ActionChunk(answer.actions, t0=self._begin + answer.tick * self._dt, dt=self._dt))
        step = self._step
        if self.machine.state is not State.ACTIVE or step is None or answer.tick != step.number:
            return
        if now - step.begin <= self.settings.deadline + SLACK:
            step.answered = True
            self._aim(step, answer.actions[0])

    def _aim(self, step: ControlStep, action: NDArray[np.float32]) -> None:
        goal = self._space.command(step.start, step.measured, action.astype(np.float64))
        if not np.isfinite(goal).all():
            self.machine.handle(Event.FAULT, "the policy gave an action that is not finite")
            return
        step.goal, step.aimed = goal, True

    # ------------------------------------------------------------ motion

    def _follow(self, now: float) -> None:
        step = self._step
        assert step is not None, "an active period has advanced to a step"
        # a command stands for the period that follows it: aim at the period's end
        target, rate = step.target(now + self._length, self._dt)
        position, _ = self._motion.step(self.safety.position, self.safety.velocity, target, rate)
        self._robot.write(self.safety.follow(position))
        self._moving = True
        if step.answered and not step.sent:
            step.sent = True
            self.statistics.latency.add(self._clock() - step.observed)

    def _brake(self) -> None:
        self._robot.write(self.safety.brake())
        if self.safety.at_rest:
            self._moving = False
            self._confirm_stop()
