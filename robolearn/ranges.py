"""Settings that know what they are and what they may be: one definition for command line, ROS parameters and code."""

from __future__ import annotations

from dataclasses import field, fields
from math import isnan
from typing import Any

from robolearn.errors import UserError


def limited(default: Any, text: str, *, low: float | None = None, high: float | None = None) -> Any:
    """Field with a default, its help text and the inclusive limits of its value."""
    return field(default=default, metadata={"help": text, "low": low, "high": high})


def require_ranges(settings: Any) -> None:
    """Check the numbers of a dataclass whose fields are `limited`.

    Raises:
        UserError: a value is out of its range.
    """
    for spec in fields(settings):
        value, low, high = getattr(settings, spec.name), spec.metadata.get("low"), spec.metadata.get("high")
        if not isinstance(value, int | float):
            continue
        if isnan(value) or (low is not None and value < low) or (high is not None and value > high):
            ends = " to ".join(f"{end:g}" for end in (low, high) if end is not None)
            raise UserError(f"{spec.name}={value:g} is out of range: give {ends}{' or more' if high is None else ''}")
