"""The part of Ray that remote actors use, with losses on demand and no processes."""

from __future__ import annotations

import pickle
import random
from collections import deque
from typing import Any


class RayError(Exception):
    pass


class RayTaskError(RayError):
    def __init__(self, cause):
        super().__init__(str(cause))
        self.cause = cause


class Exceptions:
    RayError, RayTaskError = RayError, RayTaskError


class Stored:
    """What lies in the store: all that travels is pickled."""

    def __init__(self, value):
        self.bytes = pickle.dumps(value)

    def load(self):
        return pickle.loads(self.bytes)


class Call:
    """What `method.remote()` returns: a reference to an answer to come."""

    def __init__(self, name, args):
        self.name, self.args = name, args
        self.answer: Stored | None = None
        self.error: Exception | None = None
        self.taken = False

    @property
    def over(self):
        return self.answer is not None or self.error is not None


class Actor:
    """A handle; `inner` is what runs in the process."""

    def __init__(self, inner):
        self.inner, self.alive = inner, True
        self.calls: list[Call] = []
        self.queue: deque[Call] = deque()

    def __getattr__(self, name: str) -> Any:
        def remote(*args: Any) -> Call:
            call = Call(name, [arg if isinstance(arg, Stored) else Stored(arg) for arg in args])
            self.calls.append(call)
            self.queue.append(call)
            return call

        return type("Method", (), {"remote": staticmethod(remote)})


class FakeRay:
    """Does calls of actors drawn at random, some while the learner learns.

    Attributes:
        loses: probability that an actor is lost instead of doing a call.
        timeouts: with which the learner waited.
        most: calls of one living actor that were ever given and not yet taken.
    """

    exceptions = Exceptions

    def __init__(self, *, seed=0, loses=0.0):
        self.random, self.loses = random.Random(seed), loses
        self.actors: list[Actor] = []
        self.timeouts: list[float | None] = []
        self.most = 0

    def put(self, value):
        return Stored(value)

    def remote(self, kind):
        outer = self

        class Kind:
            def options(self, **_):
                return self

            def remote(self, recipe, seed):
                outer.actors.append(Actor(kind(recipe.load(), seed)))
                return outer.actors[-1]

        return Kind()

    def kill(self, actor):
        actor.alive = False

    def wait(self, calls, num_returns, timeout):
        assert num_returns == 1
        self.timeouts.append(timeout)
        if timeout is None:
            self.work(self.random.randrange(4))
        while timeout is None and not any(call.over for call in calls):
            self.work(1)
        over = [call for call in calls if call.over]
        return over[:1], [call for call in calls if call not in over[:1]]

    def work(self, calls):
        """Do so many calls, or as many as there are."""
        for _ in range(calls):
            for actor in self.actors:
                if actor.alive:
                    self.most = max(self.most, sum(not call.taken for call in actor.calls))
            waiting = [actor for actor in self.actors if actor.queue]
            if not waiting:
                return
            self._do(self.random.choice(waiting))

    def _do(self, actor):
        call = actor.queue.popleft()
        if self.random.random() < self.loses:
            actor.alive = False
        if not actor.alive:
            call.error = RayError("the actor died")
            return
        try:
            call.answer = Stored(getattr(actor.inner, call.name)(*(arg.load() for arg in call.args)))
        except Exception as error:
            call.error = RayTaskError(error)

    def get(self, call):
        call.taken = True
        if call.error is not None:
            raise call.error
        return call.answer.load()
