"""What a policy is told in an evaluation: what the scene asks for, in words that it knows or not, or something else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robolearn.errors import UserError, nearest
from robolearn.eval.rollout import Tell

PHRASINGS = ("seen", "held_out", "shuffled")
Phrases = Sequence[Sequence[str]]


def teller(
    phrasings: str, *, instruction: str | None = None, seen: Phrases | None = None, held_out: Phrases | None = None
) -> Tell | None:
    """Return what `robolearn.eval.rollout.run_episodes` takes as `tell`.

    What is told in an episode depends on its seed and on what its scene asks for alone.

    Args:
        phrasings: "seen": the scene's own words, as in collected data. "held_out": the same in words that no collection
            draws. "shuffled": what some episode of the task asks for, drawn apart from this one, so that a policy which
            obeys succeeds by chance only; with n things that can be asked for, once in n episodes.
        instruction: said in every episode instead.
        seen: phrasings [variant][phrasing] of the task; None where it does not tell.
        held_out: others, likewise.

    Raises:
        UserError: an unknown word, or the task lacks what is asked for.
    """
    if phrasings not in PHRASINGS:
        raise UserError(f"unknown phrasings '{phrasings}'{nearest(phrasings, PHRASINGS)}")
    if instruction is not None:
        if phrasings != "seen":
            raise UserError(f"instruction says what is told: leave phrasings={phrasings} out")
        return lambda seed, asked: instruction
    if phrasings == "seen":
        return None
    if phrasings == "held_out":
        return _in_other_words(seen or (), held_out or ())
    return _something_else(seen or ())


def _in_other_words(seen: Phrases, held_out: Phrases) -> Tell:
    if not held_out:
        raise UserError("the task has no phrasings that are held out: `sort` has")
    variant = {phrase: k for k, phrases in enumerate(seen) for phrase in phrases}

    def tell(seed: int, asked: str) -> str:
        words = held_out[variant[asked]]
        return words[int(_draws(seed).integers(len(words)))]

    return tell


def _something_else(seen: Phrases) -> Tell:
    if len(seen) < 2:
        raise UserError(
            "the task asks for one thing only, so nothing can be shuffled: take one with a choice, as `sort`"
        )

    def tell(seed: int, asked: str) -> str:
        draws = _draws(seed)
        words = seen[int(draws.integers(len(seen)))]
        return words[int(draws.integers(len(words)))]

    return tell


def _draws(seed: int) -> np.random.Generator:
    """Random numbers of an episode that are not those of its scene or of the policy."""
    return np.random.default_rng((seed, 0x7E11))
