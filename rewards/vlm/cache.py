"""Answers of vision-language models in a file, by what was asked."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import threading
from pathlib import Path

from robolearn.errors import UserError
from robolearn.rewards.vlm.prompts import Request

HEAD = b'{"key": "'  # every line begins so


class AnswerCache:
    """A file of JSON lines {"key": ..., "answer": ...}.

    Each answer is appended by one call of the system, so that a kill loses no other; several processes may share the
    file, but see what others add only when they open it anew.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, or begin one; a last line that was not finished is cut off.

        Raises:
            UserError: the file holds something else.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            self._answers, size = _read(path)
            if os.fstat(self._file).st_size > size:
                os.ftruncate(self._file, size)
        except BaseException:
            os.close(self._file)
            raise
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: str) -> str | None:
        """Return the answer that is kept under a key, or None."""
        return self._answers.get(key)

    def put(self, key: str, answer: str) -> None:
        """Keep an answer.

        Raises:
            OSError: the disk is full.
        """
        line = json.dumps({"key": key, "answer": answer}).encode() + b"\n"
        with self._lock:
            self._answers[key] = answer
            if os.write(self._file, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def request_key(request: Request, *, model: str) -> str:
    """Return the SHA-256 of a model's name, a question and the pixels that it is about, as hexadecimal digits."""
    digest = hashlib.sha256(json.dumps([model, request.prompt.text, [f.shape for f in request.frames]]).encode())
    for frame in request.frames:
        digest.update(frame.tobytes())
    return digest.hexdigest()


def _read(path: Path) -> tuple[dict[str, str], int]:
    """Return the answers of a file, and the bytes that its finished lines take."""
    *lines, rest = path.read_bytes().split(b"\n")
    if rest[: len(HEAD)] != HEAD[: len(rest)]:
        raise _foreign(path)
    try:
        answers = dict(_entry(line) for line in lines)
    except (ValueError, TypeError) as error:
        raise _foreign(path) from error
    return answers, sum(len(line) + 1 for line in lines)


def _entry(line: bytes) -> tuple[str, str]:
    data = json.loads(line)
    key, answer = data.pop("key", None), data.pop("answer", None)
    if data or not (isinstance(key, str) and isinstance(answer, str)):
        raise ValueError("it is no answer")
    return key, answer


def _foreign(path: Path) -> UserError:
    return UserError(f"'{path}' holds something else than answers of a model: choose another file for them")
