"""A field of a configuration."""

from __future__ import annotations

from dataclasses import field
from typing import Any


def option(text: str, *, low: float | None = None, high: float | None = None) -> Any:
    """Field with the help text and the inclusive limits of its value."""
    return field(metadata={"help": text, "low": low, "high": high})
