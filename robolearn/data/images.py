"""The picture channels of a dataset, decoded once: in memory, or mapped from a file where they are too large."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from robolearn.data.image_cache import cache_path, default_folder, open_cache
from robolearn.data.image_sources import Pictures, find_source, resized
from robolearn.data.reading import Columns
from robolearn.errors import UserError, nearest
from robolearn.schema import Feature, Schema

Advance = Callable[[int], object]
Progress = Callable[[str, int], AbstractContextManager[Advance]]


@contextmanager
def silent(label: str, total: int) -> Iterator[Advance]:
    """Progress that nobody sees."""
    yield lambda n: None


@dataclass(frozen=True)
class ImageOptions:
    """How picture channels are loaded.

    Attributes:
        keys: the channels; None means all that the dataset has.
        size: (height, width) in pixels to which pictures are resized; None leaves them as they are.
        budget: bytes of all channels together up to which they are kept in memory. Beyond it they are decoded into
            files and mapped; a second run then opens them at once, and processes share them.
        folder: for those files; None means `$XDG_CACHE_HOME/robolearn` (`~/.cache/robolearn`).
        threads: that decode.
    """

    keys: tuple[str, ...] | None = None
    size: tuple[int, int] | None = None
    budget: int = 2 << 30
    folder: Path | None = None
    threads: int = 1


@dataclass(frozen=True)
class Images:
    """A picture channel's frames.

    Attributes:
        pixels: [pictures, height, width, channels], uint8 for RGB; read-only where mapped from a file.
        rows: [frames] the picture of each frame.
    """

    pixels: NDArray[Any]
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, frames: NDArray[np.integer]) -> NDArray[Any]:
        """Return copies of the pictures [*frames.shape, height, width, channels]."""
        return self.pixels.take(self.rows[frames], axis=0)

    def select(self, frames: NDArray[np.integer]) -> Self:
        """Return these frames; no picture is copied."""
        return replace(self, rows=self.rows[frames])


def is_picture(feature: Feature) -> bool:
    """Tell picture channels, also of depth and segmentation, from low-dimensional ones."""
    return len(feature.shape) == 3


def chosen_features(schema: Schema, options: ImageOptions) -> dict[str, Feature]:
    """Return the wanted picture channels of a dataset as they will be loaded.

    RGB channels have the dtype "image" however they are stored, as in the simulator.

    Raises:
        UserError: a channel is not among the dataset's.
    """
    pictures = {key: feature for key, feature in schema.features.items() if is_picture(feature)}
    if unknown := [key for key in options.keys or () if key not in pictures]:
        raise UserError(f"the dataset has no picture channel '{unknown[0]}'{nearest(unknown[0], pictures)}")
    wanted = pictures if options.keys is None else {key: f for key, f in pictures.items() if key in options.keys}
    return {
        key: replace(f, dtype="image" if f.dtype == "video" else f.dtype, shape=resized(f.shape, options.size))
        for key, f in wanted.items()
    }


def load_images(
    root: Path,
    stored: Schema,
    keys: Collection[str],
    *,
    info: Mapping[str, Any],
    episodes: Columns,
    options: ImageOptions,
    progress: Progress,
) -> dict[str, Images]:
    """Decode picture channels, or open their caches.

    Args:
        root: the dataset's folder.
        stored: the dataset's channels as they are on disk.
        keys: the channels to load.
        info: content of `info.json`.
        episodes: metadata columns.
        options: see there.
        progress: given a label and the number of pictures, counts those that are done.

    Raises:
        UserError: pictures are missing, damaged or no RGB, or there is too little room on the disk.
    """
    if not keys:
        return {}
    frames, threads = int(episodes["dataset_to_index"][-1]), options.threads
    sources = {key: find_source(root, key, stored[key], info=info, episodes=episodes, threads=threads) for key in keys}
    pictures = {key: Pictures(source, stored[key], frames, options.size, threads) for key, source in sources.items()}
    in_memory = sum(p.frames * p.frame_bytes for p in pictures.values()) <= options.budget
    folder = options.folder or default_folder()
    pixels = {}
    with progress("pictures", frames * len(pictures)) as advance:
        for key, channel in pictures.items():
            if in_memory:
                pixels[key] = _gather(channel, advance)
            else:
                path = cache_path(folder, root, key, channel.shape[1:], channel.source.files)
                pixels[key] = open_cache(path, channel, advance)
    return {key: Images(values, np.arange(frames)) for key, values in pixels.items()}


def _gather(pictures: Pictures, advance: Advance) -> NDArray[Any]:
    pixels, done = np.empty(pictures.shape, pictures.dtype), 0
    for block in pictures.blocks(0):
        pixels[done : done + len(block)] = block
        done += len(block)
        advance(len(block))
    return pixels
