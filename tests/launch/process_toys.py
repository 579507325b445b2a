"""What runs in the processes of the tests; light, for each of them imports it anew."""

import os
import threading
import time
from pathlib import Path


class Counter:
    """Counts its calls, and leaves a file when it is closed."""

    def __init__(self, folder):
        self.folder, self.count = Path(folder), 0

    def add(self, number):
        self.count += number
        return os.getpid(), self.count

    def echo(self, data):
        return data

    def fail(self, kind):
        raise {"plain": ValueError("no such thing"), "stubborn": StubbornError(1, 2)}[kind]

    def long(self):
        (self.folder / "busy").touch()
        time.sleep(600)

    def close(self):
        (self.folder / "closed").touch()


class StubbornError(Exception):
    """Cannot be unpickled."""

    def __init__(self, one, other):
        super().__init__("stubborn")
        self.lock = threading.Lock()
