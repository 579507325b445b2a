"""A dataset in two: by a share, by a list of episodes, or by what a column says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.data.copying import Selection, copy_episodes, require_new
from robolearn.data.raw import RawDataset
from robolearn.errors import UserError, nearest


def split(
    source: RawDataset,
    chosen: Sequence[int],
    out: Path,
    *,
    names: tuple[str, str],
    advance: Callable[[int], object] = lambda n: None,
) -> tuple[Path, Path]:
    """Write the chosen episodes to one new dataset and the others to another, and return their folders.

    Args:
        source: the dataset.
        chosen: numbers of the episodes of the first part.
        out: folder of both.
        names: of the two folders in `out`.
        advance: told of every episode copied.

    Raises:
        UserError: a part would be empty, or is there already.
    """
    picked = set(chosen)
    others = [i for i in range(source.num_episodes) if i not in picked]
    for part, name in ((picked, names[0]), (others, names[1])):
        if not part:
            raise UserError(f"'{name}' would have none of the {source.num_episodes} episodes: choose otherwise")
        require_new(out / name)
    for episodes, name in ((sorted(picked), names[0]), (others, names[1])):
        copy_episodes([Selection(source, episodes)], out / name, advance=advance)
    return out / names[0], out / names[1]


def by_share(num_episodes: int, share: float, *, seed: int) -> list[int]:
    """Draw a share of the episodes, at least one.

    With the same seed, `EpisodeDataset.split` leaves the others for validation too, if it is given their share.
    """
    left = num_episodes - max(1, round(share * num_episodes))
    return sorted(np.random.default_rng(seed).permutation(num_episodes)[left:].tolist())


def by_list(num_episodes: int, words: Sequence[str]) -> list[int]:
    """Read numbers and ranges of episodes, e.g. "3" and "10-19" (both ends included).

    Raises:
        UserError: a word is neither, or there is no such episode.
    """
    chosen: set[int] = set()
    for word in words:
        first, _, last = word.partition("-")
        try:
            numbers = range(int(first), int(last or first) + 1)
        except ValueError:
            raise UserError(f"cannot read the episodes '{word}': write numbers or ranges such as 10-19") from None
        if not numbers or numbers[-1] >= num_episodes:
            raise UserError(f"there are no episodes '{word}': the dataset has 0-{num_episodes - 1}")
        chosen.update(numbers)
    return sorted(chosen)


def by_column(source: RawDataset, column: str, value: str) -> list[int]:
    """Find the episodes whose column, e.g. "success" or "task", has a value, e.g. "true".

    Raises:
        UserError: there is no such column, or none of the episodes has this value.
    """
    table = {name: [row[name] for row in source.rows] for name in (*source.extras, "length")}
    table["task"] = [row["tasks"][0] for row in source.rows]
    if column not in table:
        raise UserError(f"the dataset has no column '{column}'{nearest(column, table)}")
    chosen = [i for i, found in enumerate(table[column]) if _says(found, value)]
    if not chosen:
        known = list(dict.fromkeys(_text(found) for found in table[column]))
        raise UserError(f"no episode has {column}={value}{nearest(value, known[:20])}")
    return chosen


def _says(found: Any, value: str) -> bool:
    if isinstance(found, float) or (isinstance(found, int) and not isinstance(found, bool)):
        try:
            return bool(found == float(value))
        except ValueError:
            return False
    return _text(found).casefold() == value.casefold()


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
