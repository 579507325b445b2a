"""What happens in one control period, without threads or ROS: a function of the time it is given.

Two grids: control steps at the schema's fps, at which an observation goes to inference, and control periods at a
higher rate, at which a position goes to the arm. Step k begins at T_k. Its command is due at T_k+1, on a straight line
in joint space from the position sent at T_k, exactly as in simulation. Until the answer arrives, the arm follows what
the previous plan says for this step, so that it does not stutter while it waits; an answer later than the deadline
only serves as the plan for the next steps.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from math import inf, isfinite

import numpy as np
from numpy.typing import NDArray

from robolearn.action_space import ActionSpace, still
from robolearn.errors import UserError
from robolearn.motion import MotionLimiter
from robolearn.protocols import Observation
from robolearn.real.chunk_buffer import ChunkBuffer
from robolearn.real.chunk_times import ChunkTimes
from robolearn.real.collision import CollisionCheck
from robolearn.real.control_step import SLACK, ControlStep
from robolearn.real.interfaces import Inference, Robot
from robolearn.real.motion_watch import MotionWatch
from robolearn.real.observer import LoopObserver, Unobserved
from robolearn.real.requests import Requests, settle
from robolearn.real.safety import Limits, SafetyFilter
from robolearn.real.settings import Settings
from robolearn.real.starting import (
    NEAR,
    SETTLING,
    eased,
    elsewhere,
    first_command,
    moved,
    next_command,
    not_finite,
    refusal,
)
from robolearn.real.state_machine import Event, State, StateMachine
from robolearn.real.statistics import LoopStatistics
from robolearn.real.watchdog import Alarm, Watchdog
from robolearn.real.workspace import Workspace
from robolearn.safety_settings import SafetySettings
from robolearn.schema import ActionChunk, Schema

Array = NDArray[np.float64]


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
        safety: SafetySettings | None = None,
        collisions: CollisionCheck | None = None,
        alarms: Sequence[Alarm] = (),
        resumes: bool = True,
        at_once: bool = False,
        observer: LoopObserver | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Control `robot` with actions from `inference`, turned into commands by `action_space`.

        `collisions` are not checked when None, for `robolearn.real.collision.collision_check` decides on that; `alarms`
        are further reasons for a fault. With `resumes` a hold ends by itself, else what would be a hold is a fault.
        `clock` serves the statistics only. With `at_once` an answer is looked for in the period of its request, too, as
        a person's may be there already. `observer` is told what happens.
        """
        if settings.rate < schema.fps:
            raise UserError(f"a control rate of {settings.rate} Hz is below the policy's {schema.fps} Hz: raise it")
        self.settings = settings
        self.machine = StateMachine(self._on_change)
        self._dt, self._length = 1.0 / schema.fps, 1.0 / settings.rate
        safety = SafetySettings() if safety is None else safety
        spec, margin = safety.restrict(action_space.robot), safety.workspace_margin
        box = Workspace(spec, margin=margin) if isfinite(margin) else None
        self.safety = SafetyFilter(Limits.of(spec, period=self._length), box=box, collisions=collisions)
        self._range = Limits.of(action_space.robot, period=self._length)
        self._motion = MotionLimiter(spec, self._length)
        self._space, self._robot, self._inference, self._clock = action_space, robot, inference, clock
        self.statistics = self._new_statistics()
        self._resumes, self._at_once = resumes, at_once
        self._observer = observer or Unobserved()
        self._watchdog = Watchdog(
            robot=robot,
            inference=inference,
            stale_after=settings.stale_after,
            chunk_timeout=settings.chunk_timeout,
            period=self._length,
            alarms=alarms,
        )
        self._names = (*action_space.robot.joint_names, "gripper_width")
        self._measured_at = [schema["observation.state"].names.index(name) for name in self._names]
        self._motion_watch = MotionWatch(safety, names=action_space.robot.joint_names, period=self._length)
        self._plan, self._times = ChunkBuffer(), ChunkTimes()
        self._requests = Requests()
        self._stopping: list[Future[str]] = []
        self._step: ControlStep | None = None
        self._led = False  # by a person, in the last control step
        self._last: Array | None = None  # command that was sent, and when
        self._sent = -inf
        self._epoch = 0
        self._begin = 0.0
        self._moving = False
        self._warm_up()

    @property
    def moving(self) -> bool:
        """Whether commands are being sent."""
        return self._moving

    @property
    def answer_sent(self) -> bool:
        """Whether a command has used the answer to the newest control step; see `ControlStep.sent`."""
        return self._step is not None and self._step.sent

    def request(self, event: Event, reason: str = "stopped") -> Future[str]:
        """Ask for START, STOP, FAULT, ESTOP or RESET_ESTOP from any thread; see `Request` for the result.

        A START whose future is cancelled is not granted.
        """
        return self._requests.put(event, reason)

    def fail(self, reason: str) -> None:
        """Leave it to `brake` to bring the arm to rest, after a failure of `period`; nobody else is told any more."""
        self._observer = Unobserved()
        self.machine.handle(Event.FAULT, reason)

    def brake(self) -> None:
        """Send the command of a period on the way to rest; does without robot's and inference's data."""
        self._send(self.safety.brake())
        if self.safety.at_rest:
            self._moving = False
            self._confirm_stop()

    def _warm_up(self) -> None:
        """Compute once what takes longer the first time."""
        here = np.array((*self._space.robot.home, 0.0))
        self._motion.step(here, 0 * here, here, 0 * here)
        self.safety.reset(here)
        self.safety.follow(here)
        self.safety.brake()
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
            self.brake()

    # ------------------------------------------------------------ state

    def _new_statistics(self) -> LoopStatistics:
        return LoopStatistics(joints=self._space.robot.n_joints, rate=self.settings.rate)

    def _take_request(self, now: float) -> None:
        request = self._requests.get()
        if request is None:
            return
        if request.event is Event.START:
            request.future.set_result(self._start(now))
            return
        if request.event is Event.RESET_ESTOP:
            settle(request.future, self._reset_estop())
            return
        self.machine.handle(request.event, request.reason)
        self._stopping.append(request.future)
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
        # a simulated arm may also have been put elsewhere: only rest tells
        if self._last is not None and not self._settled and elsewhere(measured, self._last, NEAR):
            return "the arm is still on its way to its last command: wait a moment"
        if reason := refusal(measured, self._range, self._names) or self._watchdog.alarm(now):
            return reason
        if self.safety.collisions is not None and (reason := self.safety.collisions.touching(measured)):
            return reason
        self.safety.reset(first_command(measured, self._last))
        self.safety.count_anew()
        self.statistics, self._led = self._new_statistics(), False
        self.machine.handle(Event.START, "started")
        self._engage(now)
        return ""

    def _reset_estop(self) -> str:
        if self._moving:
            return "the arm has not come to rest yet"
        if not self.machine.handle(Event.RESET_ESTOP, "the emergency stop was reset"):
            return "there is no emergency stop to reset"
        return ""

    def _engage(self, now: float) -> None:
        self._epoch += 1
        self._inference.reset(epoch=self._epoch, seed=self.settings.seed + self._epoch)
        self._plan.clear()
        self._times.begin()
        self._step = None
        self._begin = now
        self._watchdog.begin(now)
        self._motion_watch.begin()

    def _confirm_stop(self) -> None:
        for future in self._stopping:
            settle(future, "")
        self._stopping.clear()

    def _watch(self, now: float) -> None:
        gap = self._watchdog.gap(now)
        if gap and self._moving:
            # in the meantime the driver has stopped the arm where the last command said
            self.safety.reset(self.safety.position)
            reason = f"the control loop stood still for {gap:.2f} s"
            if gap > self.settings.chunk_timeout:
                self.machine.handle(Event.FAULT, reason)
                self._moving = False  # the arm may have been moved since: a command would set it back
                self._confirm_stop()
            else:  # as long as inference may be late
                self._hold(reason)
        news = self._watchdog.check(now, self.machine.state, moving=self._moving)
        if news is None:
            return
        event, reason = news
        if event is Event.STALE:
            self._hold(reason)
        elif event is Event.FRESH and self.machine.state is State.HOLD:
            self._resume(now, reason)
        else:
            self.machine.handle(event, reason)

    def _hold(self, reason: str) -> None:
        if self.machine.state is State.ACTIVE and not self._resumes:
            self.machine.handle(Event.FAULT, reason)
        elif self.machine.handle(Event.STALE, reason) and self.machine.state is State.HOLD:
            self.statistics.holds += 1

    def _resume(self, now: float, reason: str) -> None:
        measured, last = self._measured(self._read()[0]), self.safety.position
        lost = not_finite(measured, self._names)
        if reason := lost or moved(measured, last, self._names):
            if lost or self._settled:
                self.machine.handle(Event.FAULT, reason)
            return  # else the arm is still on its way to its last command
        self.safety.reset(next_command(measured, last, settled=self._settled))
        self.machine.handle(Event.FRESH, reason)
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
        # bytes of pictures always are, and there are many
        if not all(values.dtype.kind != "f" or np.isfinite(values).all() for values in observation.values()):
            self.machine.handle(Event.FAULT, "the observation is not finite")
            return
        measured = self._measured(observation)
        if reason := self._motion_watch.step(now, self.safety.position[:-1], measured[:-1]):
            self.machine.handle(Event.FAULT, reason)
            return
        asked = self._clock()
        self._conclude()
        self._times.ask(number, observed=asked - age, now=asked)
        self._inference.ask(number, observation)
        here = goal = self.safety.position
        if self._step is not None:
            goal = self._step.goal
            self.statistics.late_chunks += not self._step.answered
        begin = self._begin + number * self._dt
        self._step = ControlStep(number, begin, asked - age, here, measured, goal)
        self.statistics.ticks += 1
        self._observer.observed(begin, observation)
        if (action := self._plan.action(begin)) is not None:
            self._aim(self._step, action, self._plan.number)
        if self._at_once:
            self._take_answer(now)

    def _take_answer(self, now: float) -> None:
        answer = self._inference.poll()
        if answer is None:
            return
        # by the control step that it is for: what waited while this loop stood still is old
        begin = self._begin + answer.tick * self._dt
        self._watchdog.answered(begin)
        self._times.arrive(answer, self._clock())
        self._plan.put(ActionChunk(answer.actions, t0=begin, dt=self._dt), answer.chunk)
        if not answer.person:
            self._observer.planned(begin, answer.actions)
        step = self._step
        if self.machine.state is not State.ACTIVE or step is None or answer.tick != step.number:
            return
        # a person who takes over need not wait for the next control step
        limit = self._dt - 2 * SLACK if answer.person else self.settings.deadline
        if now - step.begin <= limit + SLACK:
            step.answered, step.person = True, answer.person
            self._aim(step, answer.actions[0], answer.chunk)

    def _aim(self, step: ControlStep, action: NDArray[np.float32], chunk: int) -> None:
        goal = self._space.command(step.start, step.measured, action.astype(np.float64))
        # within its bounds, so an infinite action has a finite goal
        if not (np.isfinite(action).all() and np.isfinite(goal).all()):
            self.machine.handle(Event.FAULT, "the policy gave an action that is not finite")
            return
        step.goal = eased(step.start, goal, elapsed=step.begin - self._begin, ramp=self.settings.ramp)
        step.action, step.chunk = action, chunk

    def _conclude(self) -> None:
        """Tell what was executed in the control step that is over: nothing, where no action came."""
        if (step := self._step) is None:
            return
        action = step.action if step.action is not None else still(self._space.feature, float(step.goal[-1]))
        self._observer.executed(step.begin, action, person=step.person)
        self.statistics.person_steps += step.person
        self.statistics.takeovers += step.person and not self._led
        self._led = step.person

    def _on_change(self, before: State, after: State, reason: str) -> None:
        if before is State.ACTIVE and self._step is not None and self._step.action is not None:
            self._conclude()
        self._observer.changed(before, after, reason)

    # ------------------------------------------------------------ motion

    def _follow(self, now: float) -> None:
        step = self._step
        assert step is not None, "an active period has advanced to a step"
        # a command stands for the period that follows it: aim at the period's end
        target, rate = step.target(now + self._length, self._dt)
        position, _ = self._motion.step(self.safety.position, self.safety.velocity, target, rate)
        refused = self.safety.refused
        self._send(self.safety.follow(position))
        self.statistics.commands.add(self.safety.position, epoch=self._epoch, step=step.number, chunk=step.chunk)
        self._moving = True
        if (stages := self._times.send(step.chunk, self._clock())) is not None:
            self.statistics.begun(stages)
        complaint = self._motion_watch.period(refused=self.safety.refused > refused)
        if reason := self.safety.danger or complaint:
            self.machine.handle(Event.FAULT, reason)
        if step.answered and not step.sent:
            step.sent = True
            if not step.person:  # who did not wait for the observation
                self.statistics.latency.add(self._clock() - step.observed)

    def _send(self, position: Array) -> None:
        self._robot.write(position)
        self._last, self._sent = position, self._clock()
        self._observer.commanded(position)

    @property
    def _settled(self) -> bool:
        """Whether the last command was long enough ago for the arm to be there, if it can."""
        return self._clock() - self._sent > SETTLING
