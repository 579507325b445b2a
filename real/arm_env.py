"""A physical arm as a `robolearn.protocols.VecEnv` with one world, so that RL acts on it as in simulation.

The action of each control step goes to the control thread of deployment: action space, interpolation, safety filter.
Where none comes in time the arm stays where it was sent last, and that is what is reported as executed. A person may
act in place of the policy at any control step. Between episodes nothing is sent.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.action_space import ActionSpace
from robolearn.errors import UserError
from robolearn.protocols import Observation
from robolearn.real.collision import CollisionCheck
from robolearn.real.control_step import SLACK
from robolearn.real.controller import Controller
from robolearn.real.handover import Done, Drive, Handover, Threaded
from robolearn.real.homing import HomingSpace, away_from_home
from robolearn.real.interfaces import Robot
from robolearn.real.requests import SILENT
from robolearn.real.scene import Scene, SuccessSource
from robolearn.real.settings import Settings
from robolearn.real.state_machine import Event, State
from robolearn.real.takeover import Action, Person, Takeover
from robolearn.real.watchdog import Alarm
from robolearn.safety_settings import SafetySettings
from robolearn.schema import Schema

log = logging.getLogger(__name__)
Array = NDArray[np.float64]
Arrays = dict[str, NDArray[Any]]
HOMING_TIMEOUT = 60.0  # s
ANSWER_TIMEOUT = 10.0  # s to start, to brake, and for a control step
MOST_BEHIND = 2.0  # s of steps that went by untold: then whoever thinks will not catch up
NEVER = 1e9  # s
BY_HAND = "it was stopped by hand"


class ArmEnv:
    """One arm; see `robolearn.protocols.VecEnv`.

    `info` also holds "action" [1, action_dim], what was executed in the step, and "intervention" [1] bool, whether
    that was a person's. Who thinks for longer than a control step is told of the steps that went by without it one
    after the other, each with what was executed, before an action of its counts again. An observation that is too old,
    a fault or a stop ends the episode as truncated, and the next begins only after `Scene.recover`; so does the first
    one of an arm that goes home by itself, for another process may have left it in the midst of something. After an
    emergency stop nobody is asked before its reset.
    """

    num_envs = 1

    def __init__(
        self,
        *,
        robot: Robot,
        scene: Scene,
        success: SuccessSource,
        person: Takeover,
        schema: Schema,
        action_space: ActionSpace,
        settings: Settings,
        instruction: str,
        stage_names: Sequence[str],
        max_episode_steps: int,
        safety: SafetySettings | None = None,
        collisions: CollisionCheck | None = None,
        alarms: Sequence[Alarm] = (),
        drive: Callable[[Controller, Handover], Drive] = Threaded,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; the arm moves at the first `reset`.

        Args:
            robot: reads observations and takes commands.
            scene: who arranges it.
            success: who judges episodes.
            person: who may take over; asked at every control period.
            schema: channels that `robot` gives, and the action.
            action_space: of the actions.
            settings: of the control loop; `chunk_timeout` has no use here, for nothing moves without an action.
            instruction: what is to be done.
            stage_names: of the task.
            max_episode_steps: control steps until truncation.
            safety: limits and watchdogs; on the way home the tool may be outside its box.
            collisions: what must not meet; see `Controller`.
            alarms: further reasons for a fault.
            drive: starts the control thread.
            clock: in s.
        """
        self.schema, self.instructions = schema, [instruction]
        self.stage_names, self.max_episode_steps = tuple(stage_names), max_episode_steps
        self._scene, self._success = scene, success
        self._space = HomingSpace(action_space)
        spec = action_space.robot
        self._home = np.array((*spec.home, spec.gripper_width), np.float32)
        self._low, self._high = (np.array(bound, np.float32) for bound in (schema.action.low, schema.action.high))

        self._person = Person(person, schema.action)

        def asked() -> Action | None:
            held = self._held  # another thread may forget it meanwhile
            return None if held is None or self._halted else self._person(held)

        self._handover = Handover(deadline=settings.deadline, person=asked, clock=clock)
        # the handover alone decides whether an action is in time, so that it knows what was executed
        whole = replace(settings, deadline=1 / schema.fps - 2 * SLACK, chunk_timeout=NEVER)
        self._controller = Controller(
            schema=schema,
            action_space=self._space,
            robot=robot,
            inference=self._handover,
            settings=whole,
            safety=safety,
            collisions=collisions,
            alarms=alarms,
            resumes=False,  # the episode is over, and what comes next is for people to say
            clock=clock,
        )
        self._robot = robot
        self._observation: Observation = {}
        self._done = Done()
        self._held: Action | None = None  # the action that moves nothing; None between episodes, when nobody acts
        self._elapsed = 0
        self._interruption = "a new process took over" if scene.goes_home else ""
        self._halted, self._starting = "", threading.Lock()
        self._drive = drive(self._controller, self._handover)  # from now on another thread asks

    def stop(self, reason: str = BY_HAND) -> Future[str]:
        """Bring the arm to rest, from any thread, and end the episode; nothing moves before `Scene.recover`.

        Returns:
            What is done when the arm is at rest.
        """
        with self._starting:
            self._halted = reason
            return self._controller.request(Event.STOP, reason)

    def estop(self, reason: str) -> Future[str]:
        """Stop likewise in an emergency: nothing moves before `reset_estop`, and `Scene.recover` after it."""
        with self._starting:
            self._halted = reason
            return self._controller.request(Event.ESTOP, reason)

    def reset_estop(self) -> Future[str]:
        """End an emergency stop, from any thread; the result is "" or why not."""
        return self._controller.request(Event.RESET_ESTOP)

    @property
    def estopped(self) -> bool:
        """Whether the arm is in an emergency stop."""
        return self._controller.machine.state is State.ESTOP

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Arrays, dict[str, Any]]:
        """Start an episode: rest, home, an arranged scene; waits as long as people need.

        Raises:
            UserError: the arm does not start.
        """
        if options is None or bool(np.asarray(options.get("reset_mask", [True])).all()):
            first = seed if seed is None or isinstance(seed, int) else seed[0]
            self._restart(0 if first is None else first)
        return self._observed(), self._info(success=False)

    def step(
        self, actions: NDArray[np.floating]
    ) -> tuple[Arrays, Array, NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Offer an action for the present control step and wait for the next; see `robolearn.protocols.VecEnv.step`.

        Raises:
            RuntimeError: the episode is over, or the control thread failed.
        """
        held = self._held
        if held is None:
            raise RuntimeError("the episode is over: reset first")
        whole = self._advance(np.clip(actions[0], self._low, self._high).astype(np.float32))
        action = held if self._done.action is None else self._done.action
        self._held = self._person.still(action[-1])
        self._elapsed += 1
        behind = self._handover.waiting
        # what is said now is about now, not about a step that went by while somebody was thinking
        verdict = None if behind else self._success.verdict(self._observation)
        terminated = verdict is not None
        if lost := behind > MOST_BEHIND * self.schema.fps:
            log.warning("the episode ends: actions take longer than control steps")
        truncated = not terminated and (not whole or lost or self._elapsed >= self.max_episode_steps)
        if terminated or truncated:
            self._rest()
        info = self._info(success=verdict is True)
        info |= {"action": action[None], "intervention": np.array([self._done.person])}
        reward = np.array([float(verdict is True)])
        return self._observed(), reward, np.array([terminated]), np.array([truncated]), info

    def close(self) -> None:
        """Bring the arm to rest and end the control thread."""
        try:
            self._rest()
        finally:
            self._drive.close()

    # ------------------------------------------------------------ episodes

    def _restart(self, seed: int) -> None:
        while True:
            self._rest()
            while reason := self._unseen():
                log.error("the arm stopped: %s", reason)
                self._halted = self._interruption = ""
                self._scene.recover(reason)
            if self._scene.goes_home and not self._go_home():
                continue
            self._scene.arrange(seed)
            self._success.clear()
            if self._begin():
                break
        self._elapsed = 0
        width = self.schema["observation.state"].names.index("gripper_width")
        self._held = self._person.still(self._observation["observation.state"][width])

    def _unseen(self) -> str:
        """What stopped the arm and nobody has seen to yet; waits until an emergency stop is reset."""
        if self.estopped:
            self._halted = self._halted or self._controller.machine.reason
            log.error("%s: waiting for its reset", self._halted)
            self._drive.wait(lambda: not self.estopped, NEVER)
        return self._interruption or self._halted

    def _request_start(self) -> Future[str] | None:
        """Ask for START, unless the arm was stopped; `stop` either prevents it or comes after it."""
        with self._starting:
            return None if self._halted else self._controller.request(Event.START)

    def _begin(self) -> bool:
        """Start the controller and wait for the first observation; return False if that was interrupted."""
        request, refusal = self._request_start(), SILENT

        def started() -> bool:
            nonlocal request, refusal
            if request is None:
                return True
            if not request.done():
                return False
            if refusal := request.result():
                request = self._request_start()
            return not refusal

        if not self._drive.wait(started, ANSWER_TIMEOUT):
            if request is not None:
                request.cancel()
            self._controller.request(Event.STOP)  # it may have been granted in this very moment
            raise UserError(f"the arm does not start: {refusal}")
        return request is not None and self._next_observation()

    def _advance(self, action: Action) -> bool:
        """Offer an action and wait for the next control step; return False if the arm was stopped."""
        self._handover.offer(action)
        return self._next_observation()

    def _next_observation(self) -> bool:
        came = self._drive.wait(lambda: self._stopped or self._handover.waiting > 0, ANSWER_TIMEOUT)
        if not came:
            raise RuntimeError("the control loop gives no observations")
        stopped = self._stopped
        if stopped:
            self._interruption = self._halted or self._controller.machine.reason
        if (frame := self._handover.take()) is not None:
            self._observation, self._done = frame
        elif stopped:
            self._cut_short()
        return not stopped

    def _cut_short(self) -> None:
        """Take what was executed in the control step that the arm was stopped in, and where that has led."""
        self._rest()
        self._done = self._handover.handed if self._controller.answer_sent else Done()
        reading = self._robot.read()
        if reading is not None and all(np.isfinite(values).all() for values in reading[0].values()):
            self._observation = reading[0]

    @property
    def _stopped(self) -> bool:
        """Whether something else than the end of the episode stopped the arm."""
        return self._halted != "" or self._controller.machine.state is not State.ACTIVE

    def _rest(self) -> None:
        self._held = None
        stopped = self._controller.request(Event.STOP)
        if not self._drive.wait(stopped.done, ANSWER_TIMEOUT):
            raise RuntimeError("the control loop does not answer")

    def _go_home(self) -> bool:
        """Go home slowly; return False if that was interrupted.

        Raises:
            UserError: the arm does not get there.
        """
        self._space.homing = True
        safety = self._controller.safety
        box, safety.box = safety.box, None  # whoever parked the arm outside wants it back
        try:
            steps, going = round(HOMING_TIMEOUT * self.schema.fps), self._begin()
            while going and (away := away_from_home(self._space.robot, self._observation, self.schema)):
                if not (steps := steps - 1):
                    raise UserError(f"{away} from home: see what is in its way")
                going = self._advance(self._home)
        finally:
            self._rest()
            self._space.homing = False
            safety.box = box
        return going

    def _observed(self) -> Arrays:
        return {key: np.asarray(self._observation[key])[None] for key in self.schema.observation_keys}

    def _info(self, *, success: bool) -> dict[str, Any]:
        stage = len(self.stage_names) if success else 0
        return {"success": np.array([success]), "stage": np.array([stage]), "progress": np.array([float(success)])}
