"""The part of Ray that the pool of workers uses, with losses on demand and no processes."""

from __future__ import annotations

import random
from collections import deque
from typing import Any


class RayError(Exception):
    pass


class RayTaskError(RayError):
    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Exceptions:
    RayError, RayTaskError = RayError, RayTaskError


class Call:
    """What `method.remote()` returns: a reference to an answer to come."""

    def __init__(self, actor: Actor, name: str, args: tuple[Any, ...]) -> None:
        self.actor, self.name, self.args = actor, name, args
        self.answer: Any = None
        self.error: Exception | None = None


class Actor:
    def __init__(self, ray: FakeRay, inner: Any) -> None:
        self.ray, self.inner, self.alive = ray, inner, True
        self.queue: deque[Call] = deque()
        ray.actors.append(self)

    def __getattr__(self, name: str) -> Any:
        def remote(*args: Any) -> Call:
            call = Call(self, name, args)
            self.queue.append(call)
            return call

        return type("Method", (), {"remote": staticmethod(remote)})


class FakeRay:
    """Does one call at a time, of an actor drawn at random.

    Attributes:
        room: actors that the cluster has room for; others wait.
        loses: probability that an actor is lost instead of doing a call.
        deadly: seed with which a block begins that ends its actor.
        most: calls to `run` that were ever waiting or unanswered at once.
    """

    exceptions = Exceptions

    def __init__(self, *, seed: int, room: int = 99, loses: float = 0.0, deadly: int = -1) -> None:
        self.random, self.room, self.loses, self.deadly = random.Random(seed), room, loses, deadly
        self.actors: list[Actor] = []
        self.most = 0

    def put(self, value: Any) -> Any:
        return value

    def remote(self, kind: type) -> Any:
        outer = self

        class Kind:
            def options(self, **_: Any) -> Kind:
                return self

            def remote(self, job: Any) -> Actor:
                return Actor(outer, kind(job))

        return Kind()

    def kill(self, actor: Actor) -> None:
        actor.alive = False

    def wait(self, calls: list[Call], num_returns: int) -> tuple[list[Call], list[Call]]:
        assert num_returns == 1
        self.most = max(self.most, sum(call.name == "run" for call in calls))
        living = [actor for actor in self.actors if actor.alive][: self.room]
        lost = [actor for actor in self.actors if not actor.alive]
        for actor in self.actors:
            actor.queue = deque(call for call in actor.queue if call in calls)
        actor = self.random.choice([actor for actor in living + lost if actor.queue])
        call = actor.queue.popleft()
        if self.random.random() < self.loses or (call.name == "run" and call.args[0].start == self.deadly):
            actor.alive = False
        if not actor.alive:
            call.error = RayError("the actor died")
        else:
            try:
                call.answer = getattr(actor.inner, call.name)(*call.args)
            except Exception as error:
                call.error = RayTaskError(error)
        return [call], [other for other in calls if other is not call]

    def get(self, call: Call) -> Any:
        if call.error is not None:
            raise call.error
        return call.answer
