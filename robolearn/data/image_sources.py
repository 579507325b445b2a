"""The picture channels of a LeRobot v3 dataset as they are stored: videos, PNG in parquet, arrays in parquet."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import batched
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from robolearn.data.reading import Columns, data_files, flat
from robolearn.errors import UserError
from robolearn.pictures import Shape, fit
from robolearn.schema import Feature

if TYPE_CHECKING:
    import av

BLOCK_BYTES = 16 << 20  # of decoded pictures that are handled at once
TOLERANCE = 0.25  # frames that a picture's time may be off


class Source(Protocol):
    """A picture channel on disk."""

    @property
    def files(self) -> tuple[Path, ...]:
        """What holds the pictures."""

    def items(self, start: int, stop: int) -> Iterator[Any]:
        """What is stored of the frames from `start` to before `stop`, in order, each for `read`."""

    def read(self, item: Any) -> NDArray[Any]:
        """Return the picture [height, width, channels]; may be called from several threads."""


@dataclass(frozen=True)
class Videos:
    """Episodes in video files; a file may hold several.

    Attributes:
        files: of each episode.
        begins: [episodes] time in s at which each begins in its file.
        starts: [episodes] first frame of each in the dataset.
        ends: [episodes] one past the last.
        fps: frames per second.
        threads: for the decoder.
    """

    files: tuple[Path, ...]
    begins: NDArray[np.float64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    fps: int
    threads: int = 1

    def items(self, start: int, stop: int) -> Iterator[av.VideoFrame]:
        """Decoded frames in the video's own pixel format."""
        for file, begin, first, end in zip(self.files, self.begins, self.starts, self.ends, strict=True):
            wanted = np.arange(max(first, start), min(end, stop))
            if wanted.size:
                yield from self._decode(file, begin + (wanted - first) / self.fps)

    def read(self, item: av.VideoFrame) -> NDArray[Any]:
        """As RGB."""
        return item.to_ndarray(format="rgb24")

    def _decode(self, path: Path, times: NDArray[np.float64]) -> Iterator[av.VideoFrame]:
        """Frames at consecutive times, by one seek to the key frame before them and decoding from there on."""
        import av  # FFmpeg's libraries, for videos alone

        tolerance, place = TOLERANCE / self.fps, 0
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_type, stream.codec_context.thread_count = "AUTO", self.threads
            container.seek(_ticks(times[0] - tolerance, stream), stream=stream)
            for frame in container.decode(stream):
                if frame.time is None or frame.time < times[place] - tolerance:
                    continue
                if frame.time > times[place] + tolerance:
                    break
                yield frame
                place += 1
                if place == len(times):
                    return
        raise UserError(f"{path} has no picture at {times[place]:.3f} s: copy it anew, or remove its episode")


@dataclass(frozen=True)
class Cells:
    """A column of the parquet files: PNG as LeRobot embeds it, or plain arrays.

    Attributes:
        files: in order of their frames.
        key: the column.
        shape: of a frame; None where a cell is a PNG.
    """

    files: tuple[Path, ...]
    key: str
    shape: Shape | None = None

    def items(self, start: int, stop: int) -> Iterator[Any]:
        """Encoded bytes, or arrays."""
        first = 0
        for path in self.files:
            with pq.ParquetFile(path) as file:
                for group in range(file.num_row_groups):
                    rows = file.metadata.row_group(group).num_rows
                    a, b = max(start - first, 0), min(stop - first, rows)
                    if a < b:
                        yield from self._values(
                            file.read_row_group(group, columns=[self.key])[self.key].slice(a, b - a)
                        )
                    first += rows
            if first >= stop:
                return

    def read(self, item: Any) -> NDArray[Any]:
        """Decoded to RGB, or as it is."""
        return np.asarray(Image.open(io.BytesIO(item)).convert("RGB")) if self.shape is None else item

    def _values(self, column: pa.ChunkedArray) -> Iterator[Any]:
        if self.shape is not None:
            yield from flat(column).reshape(-1, *self.shape)
            return
        for cell in column.to_pylist():
            if cell is None or cell["bytes"] is None:
                raise UserError(f"channel '{self.key}' lacks a picture in the data files: write the dataset anew")
            yield cell["bytes"]


def find_source(
    root: Path, key: str, feature: Feature, *, info: Mapping[str, Any], episodes: Columns, threads: int = 1
) -> Source:
    """Return where a picture channel of a dataset is stored.

    Args:
        root: the dataset's folder.
        key: the channel.
        feature: its entry in the dataset's schema, shape [height, width, channels].
        info: content of `info.json`.
        episodes: metadata columns, see `robolearn.data.reading.read_episodes`.
        threads: for a video's decoder.

    Raises:
        UserError: it is a depth map that LeRobot quantised, or a video is missing.
    """
    stored = info["features"][key]
    if stored["dtype"] not in ("image", "video"):
        return Cells(tuple(data_files(root)), key, feature.shape)
    if feature.shape[-1] != 3:
        raise UserError(
            f"channel '{key}' has pictures of shape {feature.shape}, but only RGB pictures can be decoded: "
            "name the channels to load, without it"
        )
    if stored["dtype"] == "image":
        return Cells(tuple(data_files(root)), key)
    places = zip(episodes[f"videos/{key}/chunk_index"], episodes[f"videos/{key}/file_index"], strict=True)
    files = tuple(
        root / info["video_path"].format(video_key=key, chunk_index=chunk, file_index=file) for chunk, file in places
    )
    if missing := [file for file in files if not file.exists()]:
        raise UserError(f"the dataset {root} lacks {missing[0].relative_to(root)}: copy videos/ anew")
    return Videos(
        files,
        np.array(episodes[f"videos/{key}/from_timestamp"], np.float64),
        np.array(episodes["dataset_from_index"], np.int64),
        np.array(episodes["dataset_to_index"], np.int64),
        fps=int(info["fps"]),
        threads=threads,
    )


@dataclass(frozen=True)
class Pictures:
    """A picture channel that can be decoded from any frame on.

    Attributes:
        source: where it is stored.
        feature: the channel as it is stored.
        frames: how many the dataset has.
        size: (height, width) to which pictures are resized; None leaves them as they are. See `fit`.
        threads: that decode.
    """

    source: Source
    feature: Feature
    frames: int
    size: tuple[int, int] | None = None
    threads: int = 1

    @property
    def shape(self) -> Shape:
        """[frames, height, width, channels]."""
        return (self.frames, *resized(self.feature.shape, self.size))

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8 for RGB, else the channel's own."""
        return self.feature.array_dtype

    @property
    def frame_bytes(self) -> int:
        """Size of a decoded picture."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    def blocks(self, start: int) -> Iterator[NDArray[Any]]:
        """Decode the frames from `start` on, in order.

        Yields:
            Arrays [n, height, width, channels].

        Raises:
            UserError: a picture is missing or has another shape than the dataset says.
        """
        count = max(1, BLOCK_BYTES // self.frame_bytes)
        with ThreadPoolExecutor(self.threads) if self.threads > 1 else nullcontext() as pool:
            for items in batched(self.source.items(start, self.frames), count):
                pictures = map(self._decode, items) if pool is None else pool.map(self._decode, items)
                yield np.stack(list(pictures)).astype(self.dtype, copy=False)

    def _decode(self, item: Any) -> NDArray[Any]:
        picture = self.source.read(item)
        if picture.shape != self.feature.shape:
            raise UserError(
                f"{self.source.files[0].parent} holds a picture of shape {picture.shape}, but the dataset says "
                f"{self.feature.shape}: write the dataset anew"
            )
        return fit(picture, self.shape[1:])


def resized(shape: Shape, size: tuple[int, int] | None) -> Shape:
    """Return the shape of a picture [height, width, channels] after resizing, if any."""
    return shape if size is None else (*size, shape[-1])


def _ticks(seconds: float, stream: av.VideoStream) -> int:
    assert stream.time_base is not None
    return max(0, int(seconds / stream.time_base))
