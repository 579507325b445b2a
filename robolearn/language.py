"""Instructions as integers, without a vocabulary and without a download; needs NumPy alone.

Training, serving and the torch-free reader of bundles all tokenise here.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError

TASK = "task"  # the observation entry with the instruction of each world, an array [batch] of str; LeRobot's key
TOKENS = "observation.language.tokens"  # LeRobot's key of what tokenising made of it
PADDING = 0

_WORD = re.compile(r"[^\W_]+")
_APOSTROPHES = re.compile("['\u2019]")


@dataclass(frozen=True)
class Tokenizer:
    """Hashes each word, and the character n-grams in it, to one of `buckets` ids from 1 on; 0 pads.

    A word that was misspelt or never seen shares n-grams with those that were (Bojanowski et al. 2017, fastText). The
    hash is CRC-32 of UTF-8, the same on every machine. Case, punctuation and white space make no difference.

    Attributes:
        max_words: words that are read; what follows them is not.
        max_pieces: ids of a word, its own first, then those of its first n-grams.
        buckets: number of ids besides the padding.
        ngram: characters of an n-gram; "<" and ">" mark the ends of a word.
    """

    max_words: int = 24
    max_pieces: int = 12
    buckets: int = 2048
    ngram: int = 3

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UserError: one of them is below 1.
        """
        for name in ("max_words", "max_pieces", "buckets", "ngram"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}: it must be at least 1")

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of one instruction's ids."""
        return self.max_words, self.max_pieces

    def __call__(self, instructions: Iterable[str]) -> NDArray[np.int64]:
        """Return ids [n, max_words, max_pieces] of n instructions."""
        rows = [_ids(self, str(instruction)) for instruction in instructions]
        return np.stack(rows) if rows else np.empty((0, *self.shape), np.int64)

    def pieces(self, word: str) -> list[str]:
        """Return a word and its n-grams, as they are hashed: the n-grams of "cube" are "<cu", "cub", "ube", "be>"."""
        marked = f"<{word}>"
        grams = [marked[i : i + self.ngram] for i in range(len(marked) - self.ngram + 1)]
        return [f"word {word}", *(f"part {gram}" for gram in grams)][: self.max_pieces]


def instructions_of(observation: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """Return what an observation tells each world to do [batch].

    Raises:
        UserError: nothing.
    """
    if TASK not in observation:
        raise UserError(f"the policy reads an instruction: give the observation an entry '{TASK}', one text per world")
    return observation[TASK]


def words_of(instruction: str) -> list[str]:
    """Return the words of an instruction, in lower case and without punctuation."""
    plain = unicodedata.normalize("NFKC", instruction).casefold()
    return _WORD.findall(_APOSTROPHES.sub("", plain))


@lru_cache(maxsize=4096)
def _ids(tokenizer: Tokenizer, instruction: str) -> NDArray[np.int64]:
    ids = np.full(tokenizer.shape, PADDING, np.int64)
    for row, word in zip(ids, words_of(instruction), strict=False):
        pieces = tokenizer.pieces(word)
        row[: len(pieces)] = [1 + zlib.crc32(piece.encode()) % tokenizer.buckets for piece in pieces]
    ids.flags.writeable = False  # kept for the next call
    return ids
