"""Build the progress by a vision-language model from plain options."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from robolearn.errors import UserError
from robolearn.rewards.vlm.answers import AnswerError, MalformedAnswerError
from robolearn.rewards.vlm.asynchronous import AsyncProgress
from robolearn.rewards.vlm.backend import Backend
from robolearn.rewards.vlm.cache import AnswerCache
from robolearn.rewards.vlm.endpoint import Endpoint
from robolearn.rewards.vlm.judge import Judge
from robolearn.rewards.vlm.prompts import Request, progress_prompt
from robolearn.rewards.vlm.separate import SeparateModel


def make_vlm(
    *,
    model: str,
    url: str | None = None,
    api_key_env: str | None = None,
    structured: bool = True,
    timeout: float = 30.0,
    parallel: int = 8,
    device: str = "auto",
    max_tokens: int = 64,
    threads: int = 1,
    cache: Path | None = None,
    retries: int = 2,
    stages: Sequence[str] = (),
    camera: str = "external",
    every: int = 10,
    num_envs: int = 1,
) -> AsyncProgress:
    """Start to judge with the model of a folder, in a process of its own, or one behind an endpoint.

    The endpoint is asked something to begin with.

    Args:
        model: its folder, or its name at the endpoint.
        url: of the endpoint; None to load the folder.
        api_key_env: see `Endpoint`, as for the next three.
        structured: whether to send a JSON schema.
        timeout: s for a response.
        parallel: requests that are under way at a time.
        device: of the model in the folder.
        threads: of the CPU, for the model in the folder.
        max_tokens: longest answer.
        cache: file that keeps answers; None keeps none.
        retries: how often a question is asked again after a malformed answer.
        stages: a sentence for each step of the task.
        camera: see `AsyncProgress`, as for the next two.
        every: control steps between frames that are asked about.
        num_envs: number of worlds.

    Raises:
        UserError: there is no such model, the endpoint does not answer, an impossible number, or `cache` holds
            something else.
    """
    counts = {"every": every, "num_envs": num_envs, "parallel": parallel, "max_tokens": max_tokens, "threads": threads}
    for name, number in counts.items():
        if number < 1:
            raise UserError(f"{name} is {number}: it must be at least 1")
    if retries < 0 or timeout <= 0:
        raise UserError(f"retries is {retries} and timeout {timeout}: give at least 0, and more than 0")
    answers = None if cache is None else AnswerCache(cache)
    backend: Backend
    if url is None:
        backend = SeparateModel(Path(model), device=device, max_tokens=max_tokens, threads=threads)
    else:
        backend = Endpoint(
            url,
            model,
            api_key_env=api_key_env,
            structured=structured,
            max_tokens=max_tokens,
            timeout=timeout,
            parallel=parallel,
        )
        _require_answer(backend)
    judge = Judge(backend, stages=stages, retries=retries, cache=answers)
    return AsyncProgress(judge, num_envs=num_envs, camera=camera, every=every, batch=num_envs)


def _require_answer(endpoint: Endpoint) -> None:
    """Fail now rather than in every question: it need not make sense of a black picture, but it must say something."""
    (answer,) = endpoint.ask([Request((np.zeros((64, 64, 3), np.uint8),), progress_prompt("Wait."))])
    if isinstance(answer, AnswerError) and not isinstance(answer, MalformedAnswerError):
        raise UserError(f"{answer}: start the server, or correct the url")
