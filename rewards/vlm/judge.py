"""Frames in, judgements out: asks a vision-language model, again where it must, and keeps its answers."""

from __future__ import annotations

from collections.abc import Sequence

from robolearn.rewards.vlm.answers import AnswerError, Judgement, MalformedAnswerError, parse_answer
from robolearn.rewards.vlm.backend import Backend
from robolearn.rewards.vlm.cache import AnswerCache, request_key
from robolearn.rewards.vlm.counters import Tally
from robolearn.rewards.vlm.prompts import Request, Scene, corrected, requests_about

Outcome = float | AnswerError


class Judge:
    """Asks a model the three questions about each scene; it waits for the answers.

    Attributes:
        stages: a sentence for each step of the task; empty where none are given.
        tally: where malformed answers and those from the cache are counted.
    """

    def __init__(
        self, backend: Backend, *, stages: Sequence[str] = (), retries: int = 2, cache: AnswerCache | None = None
    ) -> None:
        """Judge with a model.

        Args:
            backend: the model.
            stages: see above.
            retries: how often a question is asked again after a malformed answer.
            cache: where answers are kept; those that were malformed never are.
        """
        self.stages, self.tally = tuple(stages), Tally()
        self._backend, self._retries, self._cache = backend, retries, cache

    def __call__(self, scenes: Sequence[Scene]) -> list[Judgement | AnswerError]:
        """Return a judgement of each scene, or why there is none: one answer too few, and it has none.

        Raises:
            UserError: the model will not answer at all.
        """
        found = self._answers([request for scene in scenes for request in requests_about(scene, self.stages)])
        return [_judgement(found[i : i + 3]) for i in range(0, len(found), 3)]

    def close(self) -> None:
        """Close the model and the file of answers."""
        self._backend.close()
        if self._cache is not None:
            self._cache.close()

    def _answers(self, requests: Sequence[Request]) -> list[Outcome]:
        keys = [self._key(request) for request in requests]
        found: dict[int, Outcome] = {}
        for i, key in enumerate(keys):
            if (value := self._kept(key, requests[i])) is not None:
                found[i] = value
        asked = {i: request for i, request in enumerate(requests) if i not in found}
        for _ in range(self._retries + 1):
            if not asked:
                break
            outcomes = self._ask(asked, keys)
            found |= outcomes
            asked = {i: corrected(requests[i], str(e)) for i, e in outcomes.items() if type(e) is MalformedAnswerError}
        return [found[i] for i in range(len(requests))]

    def _ask(self, asked: dict[int, Request], keys: Sequence[str]) -> dict[int, Outcome]:
        texts = self._backend.ask(list(asked.values()))
        return {i: self._read(text, asked[i], keys[i]) for i, text in zip(asked, texts, strict=True)}

    def _read(self, text: str | AnswerError, request: Request, key: str) -> Outcome:
        try:
            if isinstance(text, AnswerError):
                raise text
            value = parse_answer(text, request.prompt.facet)
        except AnswerError as error:
            self.tally.add("malformed", isinstance(error, MalformedAnswerError))
            return error
        if self._cache is not None:
            self._cache.put(key, text)
        return value

    def _key(self, request: Request) -> str:
        return "" if self._cache is None else request_key(request, model=self._backend.name)

    def _kept(self, key: str, request: Request) -> float | None:
        text = None if self._cache is None else self._cache.get(key)
        if text is None:
            return None
        try:
            value = parse_answer(text, request.prompt.facet)
        except MalformedAnswerError:  # the file was edited
            return None
        self.tally.add("cached")
        return value


def _judgement(answers: Sequence[Outcome]) -> Judgement | AnswerError:
    values = []
    for answer in answers:
        if isinstance(answer, AnswerError):
            return answer
        values.append(answer)
    return Judgement(*values)
