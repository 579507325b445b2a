"""What a vision-language model is asked about, and its answers, read strictly: never guessed, never mended."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

PYTHON_TYPES = {"boolean": (bool,), "integer": (int,), "number": (int, float)}  # of JSON's; bool is an int to Python


class AnswerError(Exception):
    """A question has got no answer that can be used."""


class MalformedAnswerError(AnswerError):
    """A model has answered something else than it was asked for; the message says what is wrong, as a clause."""


@dataclass(frozen=True)
class Facet:
    """One thing that a model is asked about, as the only entry of the JSON object that it answers.

    Attributes:
        key: name of the entry.
        type: "boolean", "integer" or "number", as in a JSON schema.
        low: least value; of a boolean 0.
        high: largest value; of a boolean 1.
    """

    key: str
    type: str
    low: int
    high: int


CONTRAST = Facet("contrast", "integer", -1, 1)
PROGRESS = Facet("progress", "number", 0, 1)
COMPLETED = Facet("completed", "boolean", 0, 1)


@dataclass(frozen=True)
class Judgement:
    """What a model says of a frame.

    Attributes:
        contrast: -1, 0 or 1: the task was set back since an earlier frame, stands where it did, or has come on.
        progress: of the whole task, in [0, 1].
        completed: 1 if the task is done, else 0.
    """

    contrast: float
    progress: float
    completed: float


def reward(contrast: Array, progress: Array, completed: Array) -> Array:
    """Return mean((c + 1) / 2, p, d) [n] in [0, 1], the reward of Large Reward Models; NaN where one of them is."""
    return ((contrast + 1) / 2 + progress + completed) / 3


def schema(facet: Facet) -> dict[str, Any]:
    """Return the JSON schema of an answer."""
    value: dict[str, Any] = {"type": facet.type}
    if facet.type != "boolean":
        value |= {"minimum": facet.low, "maximum": facet.high}
    return {"type": "object", "properties": {facet.key: value}, "required": [facet.key], "additionalProperties": False}


def parse_answer(text: str, facet: Facet) -> float:
    """Read an answer, which must be the JSON object that `schema` describes, with nothing around it but white space.

    Raises:
        MalformedAnswerError: it is anything else.
    """
    try:
        data = json.loads(text, object_pairs_hook=_without_repetition, parse_constant=_reject)
    except (ValueError, RecursionError) as error:
        raise MalformedAnswerError("it is not one JSON object and nothing else") from error
    if not isinstance(data, dict) or list(data) != [facet.key]:
        raise MalformedAnswerError(f"it is no JSON object with the one key '{facet.key}'")
    value = data[facet.key]
    if type(value) not in PYTHON_TYPES[facet.type]:
        raise MalformedAnswerError(f"'{facet.key}' is no {facet.type}")
    if not facet.low <= value <= facet.high:
        raise MalformedAnswerError(f"'{facet.key}' is not in {facet.low} to {facet.high}")
    return float(value)


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key comes twice")
    return dict(pairs)


def _reject(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
