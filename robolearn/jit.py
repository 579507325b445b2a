"""Compiled loops: numba with the options that every kernel uses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numba

# sums in any order, fused multiply-add, reciprocals: what vectors need; NaN and infinity stay what they are
LOOSE = {"reassoc", "contract", "arcp", "nsz"}


def jit[F: Callable[..., Any]](function: F) -> F:
    """Compile `function` at its first call; the machine code is kept on disk for the next process.

    Floats follow IEEE order, so results do not depend on the batch; the interpreter lock is free while it runs.

    Kept code is dropped when the function's own file changes, but not when a constant or a compiled function of
    another file does: pass such constants as arguments, keep what calls each other in one file. Where neither the
    package nor the user's cache folder can be written (`NUMBA_CACHE_DIR` names another), every process compiles anew.
    """
    return _compiled(function, fastmath=False)


def loose_jit[F: Callable[..., Any]](function: F) -> F:
    """Like `jit`, but sums run in any order: several times faster where a row is added up, off by rounding."""
    return _compiled(function, fastmath=LOOSE)


def _compiled[F: Callable[..., Any]](function: F, *, fastmath: bool | set[str]) -> F:
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": fastmath}
    try:
        return cast(F, numba.njit(function, cache=True, **options))
    except RuntimeError:  # numba found no place for its cache
        return cast(F, numba.njit(function, cache=False, **options))
