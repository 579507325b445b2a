"""The one exception that a user is meant to read."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something the user can mend: one sentence that says what is wrong and what to do.

    The command line prints it without a traceback and exits with status 2; `--debug` shows the traceback.
    """


def nearest(word: str, valid: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"` for the closest valid name, or a list of the valid names."""
    names = sorted(valid)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else f"; valid: {', '.join(names)}"
