"""The last episodes of a dataset that grows: each is written once, and once more into a file of a useful size."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from robolearn.data import layout
from robolearn.data.episode_rows import Row, file_number, file_place, read_rows, write_rows
from robolearn.data.files import replacing
from robolearn.data.frame_table import write_frames
from robolearn.errors import UserError

FULL = 32 << 20  # bytes of a data file


class Tail:
    """Episodes whose data files are still to be merged, and their file of metadata.

    An episode is first a data file of its own, then a row in the metadata, which is replaced as a whole: that is the
    moment from which it counts. When there are enough, one data file takes the place of the first of them, the metadata
    says so, and the others are deleted. Until they are, they repeat rows *behind* those that count, where readers do
    not look. So a reader finds all episodes whenever the writer dies, and what is in excess goes when it resumes.
    """

    def __init__(self, root: Path, *, episodes_per_file: int) -> None:
        """Go on with the last file of metadata, or begin the first.

        Args:
            root: the dataset's folder; all files are there that the metadata lists.
            episodes_per_file: a file holds at most so many.

        Raises:
            UserError: a data file lacks frames.
        """
        self._root, self._per_file = root, episodes_per_file
        files = sorted(root.glob("meta/episodes/*/*.parquet"))
        self._rows = read_rows(files[-1]) if files else []
        self._number = file_number(self._rows[-1], "meta/episodes") if self._rows else 0
        self._frames: list[pa.Table] = []
        for number in self._files:
            self._frames += self._reopen(number)
        self._size = sum(self._path(number).stat().st_size for number in self._files)
        self._merge_if_full()

    def place(self) -> Row:
        """Return where the next episode will be."""
        if self._full:
            self._number, self._rows, self._frames, self._size = self._number + 1, [], [], 0
        data = self._files[-1] + 1 if self._rows else self._number
        return file_place("data", data) | file_place("meta/episodes", self._number)

    def add(self, row: Row, frames: pa.Table) -> None:
        """Write an episode.

        Args:
            row: its metadata, with what `place` returned.
            frames: its data.
        """
        file = self._path(file_number(row, "data"))
        with replacing(file) as path:
            write_frames(path, [frames])
        self._commit([*self._rows, row])
        self._frames.append(frames)
        self._size += file.stat().st_size
        self._merge_if_full()

    def merge(self) -> None:
        """Bring the episodes into one data file."""
        first, *others = self._files or [0]
        if not others:
            return
        with replacing(self._path(first)) as path:
            write_frames(path, self._frames)
        self._commit([row | file_place("data", first) for row in self._rows])
        for number in others:
            self._path(number).unlink()
        self._size = self._path(first).stat().st_size

    @property
    def _files(self) -> list[int]:
        """Numbers of the data files, in order."""
        return sorted({file_number(row, "data") for row in self._rows})

    @property
    def _full(self) -> bool:
        return len(self._rows) >= self._per_file or self._size >= FULL

    def _path(self, number: int) -> Path:
        return layout.data_file(self._root, number)

    def _merge_if_full(self) -> None:
        if self._full:
            self.merge()

    def _commit(self, rows: list[Row]) -> None:
        with replacing(layout.episodes_file(self._root, self._number)) as path:
            write_rows(path, rows)
        self._rows = rows

    def _reopen(self, number: int) -> list[pa.Table]:
        """Frames of each episode in a data file; others, from a merge that was not completed, are dropped."""
        lengths = [row["length"] for row in self._rows if file_number(row, "data") == number]
        path = self._path(number)
        table = pq.read_table(path)
        if len(table) < sum(lengths):
            raise UserError(
                f"{path} lacks frames of episodes that the metadata lists: delete {self._root}, collect anew"
            )
        starts = [sum(lengths[:k]) for k in range(len(lengths))]
        episodes = [table.slice(start, length) for start, length in zip(starts, lengths, strict=True)]
        if len(table) > sum(lengths):
            with replacing(path) as temporary:
                write_frames(temporary, episodes)
        return episodes
