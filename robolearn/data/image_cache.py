"""Decoded pictures in a file that is mapped into memory; what was decoded before a kill is not decoded again."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.data import layout
from robolearn.data.image_sources import Pictures
from robolearn.data.reading import episode_files
from robolearn.errors import UserError


def default_folder() -> Path:
    """Return the user's folder for caches: `$XDG_CACHE_HOME/robolearn`, else `~/.cache/robolearn`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "robolearn"


def cache_path(folder: Path, root: Path, key: str, shape: tuple[int, ...], files: Iterable[Path]) -> Path:
    """Return the cache file of a picture channel: another one whenever the dataset has changed.

    Args:
        folder: of all caches.
        root: the dataset's folder.
        key: the channel.
        shape: of a picture in the cache.
        files: what holds the channel's pictures; their names and sizes count, and the dataset's metadata.
    """
    root = root.resolve()
    content = hashlib.sha256((root / layout.INFO).read_bytes())
    for path in episode_files(root):
        content.update(path.read_bytes())
    for path in dict.fromkeys(files):
        content.update(f"{path.name} {path.stat().st_size}\n".encode())
    place = hashlib.sha256(str(root).encode()).hexdigest()[:12]
    size = "x".join(map(str, shape))
    return folder / f"{root.name}-{place}" / f"{key}-{size}-{content.hexdigest()[:16]}.raw"


def open_cache(path: Path, pictures: Pictures, advance: Callable[[int], object]) -> NDArray[Any]:
    """Map a cache file into memory, after making it where there is none.

    A file is made under another name and renamed when it is complete. Frames are only ever appended, so the length of
    what a killed process left tells where to go on. Processes that want the same file wait for the one that makes it.

    Args:
        path: from `cache_path`; older caches of the same channel and size beside it are deleted.
        pictures: what it holds.
        advance: told how many frames more are done.

    Returns:
        All frames [frames, height, width, channels], read-only.

    Raises:
        UserError: there is too little room on the disk, or a picture cannot be decoded.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.parent):
        if path.exists():
            advance(pictures.frames)
        else:
            _make(path, pictures, advance)
    return np.asarray(np.memmap(path, pictures.dtype, mode="r", shape=pictures.shape))


def _make(path: Path, pictures: Pictures, advance: Callable[[int], object]) -> None:
    unfinished = path.with_suffix(".tmp")
    _drop_older(path, keep=unfinished)
    frame = pictures.frame_bytes
    done = unfinished.stat().st_size // frame if unfinished.exists() else 0
    _require_room(path.parent, (pictures.frames - done) * frame)
    with unfinished.open("ab") as file:
        file.truncate(done * frame)
        advance(done)
        for block in pictures.blocks(done):
            file.write(block.tobytes())
            file.flush()
            advance(len(block))
        os.fsync(file.fileno())
    os.replace(unfinished, path)


def _drop_older(path: Path, *, keep: Path) -> None:
    channel_and_size = path.name.rpartition("-")[0] + "-"
    for other in path.parent.iterdir():
        if other.name.startswith(channel_and_size) and other != keep:
            other.unlink()


def _require_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"the decoded pictures need {needed / 1e9:.1f} GB more in {folder}, where {free / 1e9:.1f} GB are free: "
            "make room, load them smaller, or choose another cache folder"
        )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
