"""What a check of a dataset finds."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a dataset, or worth a look.

    Attributes:
        what: what was found, without the channel and the episode.
        advice: what to do about it.
        episode: where, if it concerns one episode.
        channel: where, if it concerns one channel.
        hint: it may be as it should be, e.g. a channel that never changes.
    """

    what: str
    advice: str
    episode: int | None = None
    channel: str | None = None
    hint: bool = False

    def __str__(self) -> str:
        place = [] if self.episode is None else [f"episode {self.episode}"]
        place += [] if self.channel is None else [self.channel]
        return f"{', '.join(place) or 'dataset'}: {self.what}; {self.advice}"


@dataclass(frozen=True)
class Limits:
    """From where on something is a finding.

    Attributes:
        min_seconds: shorter episodes are too short.
        jump: a step from one frame to the next that is so many times larger than nearly all (99.5 %) is a jump.
    """

    min_seconds: float = 0.5
    jump: float = 20.0


LEAVE_OUT = "leave the episode out with `robolearn data split`, or record it anew"
COPY_ANEW = "copy the file anew"
DAMAGE = (pa.ArrowException, OSError, ValueError)  # what reading a damaged file raises


def first_line(error: BaseException) -> str:
    """Return what an error says, in one line."""
    return str(error).partition("\n")[0]
