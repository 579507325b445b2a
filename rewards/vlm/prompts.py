"""The questions that a vision-language model is asked about a frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from robolearn.rewards.vlm.answers import COMPLETED, CONTRAST, PROGRESS, Facet

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Prompt:
    """A question in words.

    Attributes:
        facet: what it is about, and so the form of its answer.
        text: what the model reads after the pictures.
    """

    facet: Facet
    text: str


@dataclass(frozen=True)
class Request:
    """A question about pictures.

    Attributes:
        frames: uint8 [H, W, 3] each, in the order of time.
        prompt: the question.
    """

    frames: tuple[Image, ...]
    prompt: Prompt


@dataclass(frozen=True)
class Scene:
    """What a model judges.

    Attributes:
        earlier: uint8 [H, W, 3].
        current: uint8 [H, W, 3], the frame that is judged.
        instruction: what the robot is to do.
    """

    earlier: Image
    current: Image
    instruction: str


def requests_about(scene: Scene, stages: Sequence[str] = ()) -> tuple[Request, Request, Request]:
    """Return the questions about contrast, progress and completion; only the first is about both frames.

    Args:
        scene: what is judged.
        stages: a sentence for each step of the task, in order.
    """
    task = _task(scene.instruction, stages)
    now = (scene.current,)
    return (
        Request((scene.earlier, scene.current), contrast_prompt(task)),
        Request(now, progress_prompt(task)),
        Request(now, completion_prompt(task)),
    )


def contrast_prompt(task: str) -> Prompt:
    """Ask whether the second of two pictures is nearer to the end of the task than the first."""
    return Prompt(
        CONTRAST,
        f"{task}\nThe first picture was taken a moment ago, the second one now. What has happened to the task in "
        "between? 1: it has come closer to its end. 0: it stands where it did. -1: it has been set back.\n"
        f"{_form(CONTRAST, 'the number -1, 0 or 1')}",
    )


def progress_prompt(task: str) -> Prompt:
    """Ask how much of the task is done in a picture."""
    return Prompt(
        PROGRESS,
        f"{task}\nThe picture was taken now. How much of the task is done? 0: nothing yet. 1: all of it.\n"
        f"{_form(PROGRESS, 'a number from 0 to 1')}",
    )


def completion_prompt(task: str) -> Prompt:
    """Ask whether the task is done in a picture."""
    return Prompt(
        COMPLETED,
        f"{task}\nThe picture was taken now. Is the whole task done? true: yes. false: no, or it cannot be seen.\n"
        f"{_form(COMPLETED, 'true or false')}",
    )


def corrected(request: Request, complaint: str) -> Request:
    """Ask again, and say why the last answer would not do: a model without chance would only repeat it."""
    text = f"{request.prompt.text}\nYour last answer could not be read: {complaint}."
    return replace(request, prompt=replace(request.prompt, text=text))


def _task(instruction: str, stages: Sequence[str]) -> str:
    told = f"A robot arm has this task: {instruction}."
    if not stages:
        return told
    steps = "\n".join(f"{i}. {sentence}" for i, sentence in enumerate(stages, start=1))
    return f"{told}\nIts steps, which take equal shares of its progress:\n{steps}"


def _form(facet: Facet, value: str) -> str:
    return f'Answer with one JSON object and nothing else: {{"{facet.key}": x}}, where x is {value}.'
