"""Copy the videos of some episodes: files whole where all their episodes are wanted, else the episodes' spans."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from robolearn.data import layout
from robolearn.data.cut_video import NoKeyFrameError, cut_video
from robolearn.data.episode_rows import Row
from robolearn.data.raw import RawDataset
from robolearn.errors import UserError


class Place(NamedTuple):
    """Where an episode's pictures are: number of the file, and by how many seconds they stand earlier in it."""

    number: int
    earlier: float


class VideoCopier:
    """Copies videos of one dataset as episodes ask for them."""

    def __init__(
        self, source: RawDataset, episodes: Sequence[int], root: Path, rename: dict[str, str], numbers: dict[str, int]
    ) -> None:
        """Prepare to copy.

        Args:
            source: the dataset.
            episodes: numbers of those that will be asked for.
            root: folder of the new dataset.
            rename: new names of channels by their old ones.
            numbers: files that the new dataset has so far, by the new name of the channel; counted on here.
        """
        self._source, self._root, self._rename, self._numbers = source, root, rename, numbers
        self._keys = [key for key, feature in source.features.items() if feature["dtype"] == "video"]
        unwanted = set(range(source.num_episodes)) - set(episodes)
        self._partly = {source.video_file(source.rows[i], key) for i in unwanted for key in self._keys}
        self._whole: dict[Path, int] = {}  # number of the copy of files that were copied whole

    def place(self, episode: int) -> Row:
        """Copy the pictures of an episode, and return the columns that say where they are."""
        row = self._source.rows[episode]
        columns: Row = {}
        for key in self._keys:
            number, earlier = self._copy(row, key)
            chunk, file = divmod(number, layout.CHUNK_SIZE)
            start, end = (row[f"videos/{key}/{edge}_timestamp"] - earlier for edge in ("from", "to"))
            values = {"chunk_index": chunk, "file_index": file, "from_timestamp": start, "to_timestamp": end}
            columns |= {f"videos/{self._rename.get(key, key)}/{name}": value for name, value in values.items()}
        return columns

    def _copy(self, row: Row, key: str) -> Place:
        source = self._source.video_file(row, key)
        if not source.exists():
            raise UserError(f"{source} is missing: copy it anew, or leave episode {row['episode_index']} out")
        if source in self._whole:
            return Place(self._whole[source], 0.0)
        name = self._rename.get(key, key)
        number = self._numbers.get(name, 0)
        target = layout.video_file(self._root, name, number)
        target.parent.mkdir(parents=True, exist_ok=True)
        self._numbers[name] = number + 1
        start = row[f"videos/{key}/from_timestamp"]
        if source in self._partly:
            try:
                first = round(start * self._source.fps)
                cut_video(source, target, first=first, length=row["length"], fps=self._source.fps)
            except NoKeyFrameError:
                pass
            else:
                return Place(number, start)
        shutil.copyfile(source, target)
        self._whole[source] = number
        return Place(number, 0.0)
