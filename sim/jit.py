"""Compiled loops: numba with the options that every kernel of the simulator uses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numba


def jit[F: Callable[..., Any]](function: F) -> F:
    """Compile `function` at its first call; the machine code is kept on disk for the next process.

    Floats follow IEEE order, so results do not depend on the batch; the interpreter lock is free while it runs.

    Kept code is dropped when the function's own file changes, but not when a constant or a compiled function of
    another file does: pass such constants as arguments, keep what calls each other in one file. Where neither the
    package nor the user's cache folder can be written (`NUMBA_CACHE_DIR` names another), every process compiles anew.
    """
    try:
        return _compiled(function, cache=True)
    except RuntimeError:  # numba found no place for its cache
        return _compiled(function, cache=False)


def _compiled[F: Callable[..., Any]](function: F, *, cache: bool) -> F:
    return cast(F, numba.njit(function, cache=cache, nogil=True, error_model="numpy"))
