"""Import recordings of whatever format."""

from __future__ import annotations

from pathlib import Path

from robolearn.data import layout
from robolearn.data.importers.hdf5 import read_hdf5
from robolearn.data.importers.lerobot import import_lerobot
from robolearn.data.importers.recordings import Progress, write
from robolearn.data.importers.rosbag import find_bags, read_bags
from robolearn.errors import UserError, nearest

READERS = {"hdf5": read_hdf5, "rosbag": read_bags}
FORMATS = (*READERS, "lerobot")


def import_recordings(
    source: Path,
    out: Path,
    *,
    format: str | None,
    contract: Path | None,
    task: str | None,
    video: bool,
    progress: Progress,
) -> int:
    """Write recordings as a dataset; return its number of episodes.

    Args:
        source: file or folder.
        out: folder of the dataset. An import that was killed goes on there, but for LeRobot's, which begins anew.
        format: one of `FORMATS`; None finds out.
        contract: YAML that says what becomes which channel; None takes what is usual.
        task: the instruction; None takes what the source or the contract says.
        video: store pictures as videos, else as PNG files in the data; LeRobot's stay as they are.
        progress: shows how many recordings are read.

    Raises:
        UserError: the source is missing or of no known format, or what the importer of its format raises.
    """
    if not source.exists():
        raise UserError(f"there is no {source}: check the path")
    kind = detect(source) if format is None else format
    if kind not in FORMATS:
        raise UserError(f"unknown format '{kind}'{nearest(kind, FORMATS)}")
    if kind == "lerobot":
        if task is not None:
            raise UserError("a LeRobot dataset has instructions of its own: leave task=... out")
        return import_lerobot(source, out, contract, progress=progress)
    return write(READERS[kind](source, contract, task=task), out, video=video, progress=progress)


def detect(source: Path) -> str:
    """Find out the format of a file or folder.

    Raises:
        UserError: it is none of `FORMATS`.
    """
    if source.is_file():
        if source.suffix in (".hdf5", ".h5"):
            return "hdf5"
        if source.suffix in (".mcap", ".db3"):
            raise UserError(f"{source} is a file of a rosbag2 recording: give its folder, with metadata.yaml in it")
    elif (source / layout.INFO).exists():
        return "lerobot"
    elif find_bags(source):
        return "rosbag"
    raise UserError(f"cannot tell what {source} is: give format=hdf5, lerobot or rosbag")
