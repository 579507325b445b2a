"""Models that answer what a test says."""

import threading

from robolearn.rewards.vlm.answers import CONTRAST, PROGRESS

GOOD = {"contrast": '{"contrast": 1}', "progress": '{"progress": 0.5}', "completed": '{"completed": false}'}


class Scripted:
    """Answers by `say(request)`: a text, or an error to return.

    Attributes:
        asked: every batch of requests.
        closed: how often it was closed.
    """

    name = "scripted"

    def __init__(self, say):
        self.say, self.asked, self.closed = say, [], 0

    def ask(self, requests):
        self.asked.append(list(requests))
        return [self.say(request) for request in requests]

    def close(self):
        self.closed += 1


def good(request):
    return GOOD[request.prompt.facet.key]


def by_brightness(request):
    """Judge by the first pixel: progress is its red in percent, contrast the sign of the change, done means 100."""
    reds = [int(frame[0, 0, 0]) for frame in request.frames]
    if request.prompt.facet is CONTRAST:
        return f'{{"contrast": {(reds[1] > reds[0]) - (reds[1] < reds[0])}}}'
    if request.prompt.facet is PROGRESS:
        return f'{{"progress": {reds[0] / 100}}}'
    return f'{{"completed": {"true" if reds[0] == 100 else "false"}}}'


class Gate:
    """Lets a model answer only when it is told to; makes threads deterministic."""

    def __init__(self):
        self._condition = threading.Condition()
        self.arrived = self._allowed = self._passed = 0

    def pass_through(self):
        with self._condition:
            self.arrived += 1
            self._condition.notify_all()
            assert self._condition.wait_for(lambda: self._passed < self._allowed, 10)
            self._passed += 1

    def wait_for(self, arrived):
        """Wait until so many have come to the gate."""
        with self._condition:
            assert self._condition.wait_for(lambda: self.arrived >= arrived, 10)

    def open(self, n=1):
        """Let `n` pass."""
        with self._condition:
            self._allowed += n
            self._condition.notify_all()
