"""What is recorded, and when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from robolearn.errors import UserError, nearest

MODES = ("off", "all", "incidents")


@dataclass(frozen=True, kw_only=True)
class RecordSettings:
    """When recordings begin and end.

    Attributes:
        mode: "off"; "all": every activation; "incidents": only what is around a hold, a fault, an emergency stop, a
            person's takeover or a failure.
        folder: of the recordings.
        ring_seconds: s before an incident that are kept.
        after_seconds: s after an activation's end, or after an incident, until the recording ends.
        megabytes: size at which a recording goes on in another one.
    """

    mode: str = "off"
    folder: str = "recordings"
    ring_seconds: float = 30.0
    after_seconds: float = 5.0
    megabytes: float = 2000.0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UserError: one of them cannot be.
        """
        if self.mode not in MODES:
            raise UserError(f"record={self.mode} is unknown{nearest(self.mode, MODES)}")
        for name in ("ring_seconds", "after_seconds", "megabytes"):
            value = getattr(self, name)
            if not (value > 0 and isfinite(value)):
                raise UserError(f"{name} must be positive and finite, not {value}")
        if self.mode != "off" and not self.folder:
            raise UserError("recordings need a folder: give record_folder")

    @property
    def on(self) -> bool:
        """Whether anything is recorded."""
        return self.mode != "off"


def from_options(options: Mapping[str, Any]) -> RecordSettings:
    """Read what `OPTIONS` say; other names are left aside.

    Raises:
        UserError: a value cannot be.
    """
    return RecordSettings(
        mode=options["record"],
        folder=options["record_folder"],
        ring_seconds=options["ring_seconds"],
        after_seconds=options["record_after"],
        megabytes=options["record_megabytes"],
    )


# default and meaning, as options of a command line and parameters of the node
OPTIONS: dict[str, tuple[str | float, str]] = {
    "record": ("off", "off; all: every activation; incidents: what is around holds, faults, takeovers and failures"),
    "record_folder": ("recordings", "folder for recordings"),
    "ring_seconds": (30.0, "s before an incident that its recording holds"),
    "record_after": (5.0, "s that a recording goes on after a stop or an incident"),
    "record_megabytes": (2000.0, "size in MB, before compression, at which a recording goes on in another one"),
}


def require_rosbags() -> None:
    """Make sure that recordings can be written.

    Raises:
        UserError: the package `rosbags` is missing.
    """
    try:
        import rosbags.rosbag2  # noqa: F401
    except ImportError as error:
        raise UserError(
            "recordings are written with the package rosbags: `pip install 'robolearn[recordings]'`, or record=off"
        ) from error
