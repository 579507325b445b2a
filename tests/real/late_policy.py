"""A policy whose chunks say what they are from, and inference that takes as long as it is told."""

from concurrent.futures import Future
from types import SimpleNamespace

import numpy as np
from bundle_factory import make_schema

from robolearn.execution import Execution
from robolearn.real.ahead import AheadServer
from robolearn.real.messages import ANSWER, OBSERVE, REQUEST, RESET, pack
from robolearn.schema import ActionChunk
from robolearn.sim.robots import get_robot

HORIZON, N_ACTION_STEPS = 8, 4
SCHEMA = make_schema(get_robot("panda"))
DIM = SCHEMA.action.shape[0]
SLOPE = 0.01  # of what a chunk plans, per step


class LatePolicy:
    """Plans its first observed number, plus a slope along the chunk, plus `spread` times the noise's first number."""

    schema, n_obs_steps, horizon, n_action_steps = SCHEMA, 2, HORIZON, N_ACTION_STEPS
    noise_shape, reads_task = (HORIZON, DIM), False

    def __init__(self, spread=0.0):
        self.spread, self.asked, self.seen = spread, [], []

    def predict_chunk(self, observation, noise=None, n_samples=1):
        state = observation["observation.state"][:, :, 0]
        self.seen.append(state[0].tolist())
        values = state[:, -1, None, None] + SLOPE * np.arange(HORIZON, dtype=np.float32)[:, None]
        values = np.broadcast_to(values, (len(state), HORIZON, DIM)) + self.spread * noise[:, :1, :1]
        return ActionChunk(values.astype(np.float32), 0.0, 0.05)

    def predict_guided(self, observation, noise, *, left_over, frozen, largest):
        self.asked.append((int(observation["observation.state"][0, -1, 0]), left_over[0].copy(), frozen, largest))
        chunk = self.predict_chunk(observation, noise)
        frozen = min(frozen, left_over.shape[1])
        chunk.values[:, :frozen] = left_over[:, :frozen]
        return chunk


def observation(number):
    seen = {key: np.zeros(SCHEMA[key].shape, np.float32) for key in SCHEMA.observation_keys}
    seen["observation.state"][0] = number
    return seen


class Bench:
    """Asks for one answer per control step; the jobs of a server are done when their delay, in control steps, is over.

    Attributes:
        executed: [steps] rows (first component of the action, chunk), None where there was none.
    """

    def __init__(self, mode="rtc", *, policy=None, correction=None, delays=(), clock=None, **options):
        self.policy = policy or LatePolicy()
        bundle = SimpleNamespace(schema=SCHEMA, policy=self.policy, correction=correction, instruction="")
        self.delays, self.step, self.jobs, self.executed = iter(delays), -1, [], []
        self.late = False
        self.server = AheadServer(
            bundle,
            Execution(execution=mode, **options),
            deadline=0.02,
            submit=self.submit,
            clock=clock or (lambda: self.step + 0.03 * self.late),
        )
        self.reset()

    def reset(self, epoch=1):
        self.epoch, self.step = epoch, -1
        self.server.handle([REQUEST.pack(RESET, epoch, 0)])

    def submit(self, job):
        future = Future()
        self.jobs.append((self.step + next(self.delays, 0), job, future))
        return future

    def finish(self, *, late):
        """Do the jobs whose time has come; return the answer, if any."""
        self.late, answer = late, None
        for due, job, future in list(self.jobs):
            if due <= self.step + late:
                self.jobs.remove((due, job, future))
                future.set_result(job())
                answer = self.server.finish() or answer
        self.late = False
        return answer

    def run(self, steps, number=lambda step: 0.0):
        for _ in range(steps):
            self.finish(late=True)  # too late for the step that is over
            self.step += 1
            message = REQUEST.pack(OBSERVE, self.epoch, self.step) + pack(SCHEMA, observation(number(self.step)))
            answers = [self.server.handle([message]), self.finish(late=False)]
            self.answers = [read(answer) for answer in answers if answer is not None]
            final = self.answers[-1]
            self.executed.append((final.values[0, 0], final.chunk) if len(final.values) else None)
        return self.executed


def read(message):
    epoch, tick, _, chunk = ANSWER.unpack_from(message)
    values = np.frombuffer(message, np.float32, offset=ANSWER.size).reshape(-1, DIM)
    return SimpleNamespace(epoch=epoch, tick=tick, chunk=chunk, values=values)
