"""Check the pictures of a dataset: video files, and PNG files within the data files."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from robolearn.data.episode_rows import Row
from robolearn.data.findings import COPY_ANEW, LEAVE_OUT, Finding
from robolearn.data.raw import RawDataset, is_picture, picture_size
from robolearn.data.reading import data_files

HALF = 0.5  # of a frame: rounding of times


def check_pictures(raw: RawDataset) -> Iterator[Finding]:
    """Check that every frame has its picture, of the size that `info.json` says; nothing is decoded."""
    for key, feature in raw.features.items():
        if feature["dtype"] == "video":
            yield from _check_video(raw, key)
        elif is_picture(feature):
            yield from _check_images(raw, key)


class Video(NamedTuple):
    """What a video file says of itself."""

    frames: int
    fps: float
    size: tuple[int, int]  # height, width


def probe(path: Path) -> Video:
    """Read the head of a video file; frames are counted where it does not say how many it has.

    Raises:
        OSError: the file is missing or damaged.
    """
    import av

    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            frames = stream.frames or sum(packet.pts is not None for packet in container.demux(stream))
            rate = stream.average_rate or stream.guessed_rate or 0
            video = Video(frames, float(rate), (stream.height, stream.width))
    except (av.FFmpegError, IndexError) as error:
        raise OSError(f"{path} is no video that can be read") from error
    return video


def _check_video(raw: RawDataset, key: str) -> Iterator[Finding]:
    files: dict[Path, list[Row]] = defaultdict(list)
    for row in raw.rows:
        try:
            files[raw.video_file(row, key)].append(row)
        except KeyError:
            yield Finding("its metadata does not say in which video it is", LEAVE_OUT, row["episode_index"], key)
    size = picture_size(raw.features[key])
    for file, rows in files.items():
        name = file.relative_to(raw.root)
        try:
            video = probe(file)
        except OSError:
            state = "is damaged" if file.exists() else "is missing"
            for row in rows:
                yield Finding(f"{name} {state}", f"{COPY_ANEW}, or {LEAVE_OUT}", row["episode_index"], key)
            continue
        if video.size != size:
            yield Finding(f"{name} is {video.size} pixels, info.json says {size}", COPY_ANEW, channel=key)
        if abs(video.fps - raw.fps) > 0.01 * raw.fps:
            what = f"{name} has {video.fps:g} frames per second, info.json says {raw.fps}"
            yield Finding(what, "record it anew", channel=key)
        yield from _check_spans(raw, key, name, video, rows)


def _check_spans(raw: RawDataset, key: str, name: Path, video: Video, rows: list[Row]) -> Iterator[Finding]:
    """Each episode has a span of the file's time to itself, as long as the episode."""
    end = 0.0
    for row in sorted(rows, key=lambda row: row[f"videos/{key}/from_timestamp"]):
        first, last = (row[f"videos/{key}/{edge}_timestamp"] * raw.fps for edge in ("from", "to"))
        if abs(last - first - row["length"]) > HALF:
            what = f"its span of {name} is {last - first:.0f} frames, its length {row['length']}"
            yield Finding(what, LEAVE_OUT, row["episode_index"], key)
        if first < end - HALF:
            what = f"its span of {name} begins before the one of another episode ends"
            yield Finding(what, LEAVE_OUT, row["episode_index"], key)
        if first + row["length"] > video.frames + HALF:
            what = f"{name} ends after {video.frames} frames, it needs {first + row['length']:.0f}"
            yield Finding(what, f"{COPY_ANEW}, or {LEAVE_OUT}", row["episode_index"], key)
        end = last


def _check_images(raw: RawDataset, key: str) -> Iterator[Finding]:
    size = picture_size(raw.features[key])
    for file in data_files(raw.root):
        try:
            table = pq.read_table(file, columns=["episode_index", "frame_index", key])
        except (pa.ArrowException, OSError):
            continue  # reported with the frames
        if key not in table.column_names or "episode_index" not in table.column_names:
            continue
        faulty: dict[int, tuple[int, str]] = {}
        for episode, frame, picture in zip(*(table[c] for c in ("episode_index", "frame_index", key)), strict=True):
            if episode.as_py() not in faulty and (fault := _fault(raw.root, picture, size)):
                faulty[episode.as_py()] = (frame.as_py(), fault)
        for number, (frame, fault) in faulty.items():
            yield Finding(f"the picture of frame {frame} {fault}", LEAVE_OUT, number, key)


def _fault(root: Path, picture: pa.StructScalar, size: tuple[int, int]) -> str | None:
    """What is wrong with a picture, judged by its head; None if nothing."""
    from PIL import Image, UnidentifiedImageError

    data = (picture.as_py() or {}).get("bytes")
    if data is None:
        path = (picture.as_py() or {}).get("path")
        if path is None or not (root / path).exists():
            return "is missing"
        data = (root / path).read_bytes()
    try:
        with Image.open(io.BytesIO(data)) as image:
            found = (image.height, image.width)
    except UnidentifiedImageError:
        return "cannot be decoded"
    return None if found == size else f"is {found} pixels, info.json says {size}"
