"""The one face of all vision-language models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from robolearn.rewards.vlm.answers import AnswerError
from robolearn.rewards.vlm.prompts import Request


class Backend(Protocol):
    """A model that answers questions about pictures; several threads may ask it.

    Attributes:
        name: of the model. Two models of one name give the same answers, which are kept by it.
    """

    @property
    def name(self) -> str:
        """Return it; a moment's work the first time."""

    def ask(self, requests: Sequence[Request]) -> list[str | AnswerError]:
        """Return what the model says, word for word, or why it says nothing; one for each request.

        Raises:
            UserError: it will answer no request before the user mends something.
        """

    def close(self) -> None:
        """Let go of what it holds; it is asked nothing any more."""
