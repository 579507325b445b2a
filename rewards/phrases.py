"""Instructions of other tasks, with which a reward model learns to tell the right one from a wrong one."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np

from robolearn.language import words_of

VERBS = (
    "move",
    "push",
    "pull",
    "open",
    "close",
    "turn",
    "lift",
    "wipe",
    "pour",
    "fold",
    "press",
    "insert",
    "hang",
    "sort",
)
THINGS = (
    "the door", "the mug", "a towel", "the red button", "the lid", "the bottle", "a spoon", "the lever", "the plate",
    "two bananas", "the screwdriver", "the window", "the sponge", "the green block", "the ball", "all the toys",
    "the cup", "a shirt", "the ring", "the cube", "the drawer", "the peg", "the box",
)  # fmt: skip
PLACES = (
    "", "onto the shelf", "next to the sink", "to the left", "to the right", "into the basket", "behind the lamp",
    "on the plate", "from the table", "with the cloth", "as far as it goes", "under the rack", "into the bin",
)  # fmt: skip
FUNCTION_WORDS = {"the", "a", "an", "to", "it", "of", "and", "in", "into", "on", "onto", "from", "up", "as", "all"}


def other_instructions(right: Iterable[str], *, count: int, seed: int) -> list[str]:
    """Return up to `count` instructions that do not ask for what any of `right` does.

    A phrase that shares two or more words of meaning with a right one is left out, for it might be another way to put
    it. In half of them some words are replaced by ones that do not exist: what was never heard of is wrong too, unless
    the rest of the sentence says otherwise.

    Args:
        right: the dataset's own instructions.
        count: how many are wanted.
        seed: decides which.
    """
    kept = [_meaning(text) for text in right]
    phrases = [" ".join(parts).strip() for parts in itertools.product(VERBS, THINGS, PLACES)]
    fine = [text for text in phrases if all(len(_meaning(text) & words) < 2 for words in kept)]
    rng = np.random.default_rng(seed)
    chosen = [fine[i] for i in rng.permutation(len(fine))[:count]]
    return [_with_unheard_words(text, rng) if i % 2 else text for i, text in enumerate(chosen)]


def _with_unheard_words(text: str, rng: np.random.Generator) -> str:
    """Replace about half of the words by syllables."""
    words = [_unheard_word(rng) if rng.random() < 0.5 else word for word in text.split()]
    return " ".join(words)


def _unheard_word(rng: np.random.Generator) -> str:
    pairs = [rng.choice(list("bdfgklmnprstvwz")) + rng.choice(list("aeiou")) for _ in range(rng.integers(1, 4))]
    return "".join(pairs) + rng.choice(["", "n", "r", "st", "ck"])


def _meaning(text: str) -> set[str]:
    return set(words_of(text)) - FUNCTION_WORDS
