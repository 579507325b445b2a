"""A LeRobot v3 dataset for training: low-dimensional channels in memory, pictures decoded once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from robolearn.data import layout
from robolearn.data.images import ImageOptions, Images, Progress, chosen_features, is_picture, load_images, silent
from robolearn.data.inferred_schema import infer_schema, with_action_bounds
from robolearn.data.reading import read_episodes, read_frames, read_info, read_instructions, require_finite
from robolearn.data.statistics import Statistics, compute_statistics
from robolearn.data.windows import Windows
from robolearn.errors import UserError
from robolearn.normalize import Normalizer
from robolearn.schema import Schema


@dataclass(frozen=True)
class EpisodeDataset:
    """Episodes one after another.

    Attributes:
        root: the dataset's folder.
        schema: the channels held, with roles, units and bounds.
        stage_names: the task's stages, in order; empty where the dataset has no labels.
        channels: float32 arrays [frames, n] by channel.
        starts: [episodes] first frame of each episode.
        ends: [episodes] one past the last frame.
        tasks: the language instruction of each episode.
        columns: further values per episode, e.g. "seed", "success".
        images: picture channels, uint8 [frames, height, width, 3] each for RGB.
        instructions: all instructions of the dataset.
        task_index: [frames] place in `instructions`; LeRobot lets it change within an episode.
    """

    root: Path
    schema: Schema
    stage_names: tuple[str, ...]
    channels: dict[str, NDArray[np.float32]]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    tasks: tuple[str, ...]
    columns: dict[str, list[Any]]
    images: dict[str, Images] = field(default_factory=dict)
    instructions: tuple[str, ...] = ()
    task_index: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    @classmethod
    def load(cls, root: Path, *, images: ImageOptions | None = None, progress: Progress = silent) -> Self:
        """Read a dataset.

        A dataset of another writer has no units ("unknown") and no bounds; the action's are then taken from the data.

        Args:
            root: the dataset's folder.
            images: how picture channels are loaded; None leaves them out.
            progress: shows how many pictures are decoded, e.g. `robolearn.commands.common.progress`.

        Raises:
            UserError: the folder is missing, is no LeRobot v3 dataset, has no episodes, lacks frames or pictures, or
                holds a NaN; a picture channel is wanted that is none or that cannot be decoded.
        """
        root = Path(root)
        info = read_info(root)
        episodes = read_episodes(root)
        starts = np.array(episodes["dataset_from_index"], np.int64)
        ends = np.array(episodes["dataset_to_index"], np.int64)
        own = root / layout.OWN_SCHEMA
        stored = Schema.load(own) if own.exists() else infer_schema(info["features"], fps=info["fps"])
        low = [key for key, feature in stored.features.items() if not is_picture(feature)]
        columns = read_frames(root, [*low, "task_index"], num_frames=int(ends[-1]))
        channels = {key: columns[key].astype(np.float32) for key in low}
        require_finite(channels, ends)
        options = ImageOptions(keys=()) if images is None else images
        pictures = chosen_features(stored, options)
        features = {key: pictures.get(key, f) for key, f in stored.features.items() if key in low or key in pictures}
        reserved = ("tasks", "length", "dataset_", "data/", "meta/", "stats/", "videos/")
        return cls(
            root=root,
            schema=with_action_bounds(Schema(features, stored.fps), channels["action"]),
            stage_names=tuple(json.loads(own.read_text())["stage_names"]) if own.exists() else (),
            channels=channels,
            starts=starts,
            ends=ends,
            tasks=tuple(tasks[0] for tasks in episodes["tasks"]),
            columns={key: values for key, values in episodes.items() if not key.startswith(reserved)},
            images=load_images(
                root, stored, pictures, info=info, episodes=episodes, options=options, progress=progress
            ),
            instructions=read_instructions(root),
            task_index=columns["task_index"][:, 0],
        )

    @property
    def num_episodes(self) -> int:
        """Number of episodes."""
        return len(self.starts)

    @property
    def num_frames(self) -> int:
        """Number of frames over all episodes."""
        return int((self.ends - self.starts).sum())

    @cached_property
    def statistics(self) -> Statistics:
        """LeRobot-style statistics of every low-dimensional channel over all frames."""
        return compute_statistics(self.channels)

    def episode(self, index: int) -> dict[str, NDArray[np.float32]]:
        """Return the low-dimensional channels of one episode, [T, n] each."""
        span = slice(self.starts[index], self.ends[index])
        return {key: values[span] for key, values in self.channels.items()}

    def select(self, episodes: Sequence[int]) -> Self:
        """Return a dataset of these episodes only, in this order.

        Raises:
            UserError: no episode is left.
        """
        if len(episodes) == 0:
            raise UserError(f"no episode of {self.root} is selected: collect more episodes or loosen the selection")
        frames = np.concatenate([np.arange(self.starts[i], self.ends[i]) for i in episodes])
        lengths = np.array([self.ends[i] - self.starts[i] for i in episodes])
        ends = np.cumsum(lengths)
        return replace(
            self,
            channels={key: values[frames] for key, values in self.channels.items()},
            starts=ends - lengths,
            ends=ends,
            tasks=tuple(self.tasks[i] for i in episodes),
            columns={key: [values[i] for i in episodes] for key, values in self.columns.items()},
            images={key: values.select(frames) for key, values in self.images.items()},
            task_index=self.task_index[frames],
        )

    def split(self, share: float, *, seed: int) -> tuple[Self, Self]:
        """Divide the episodes at random into a set to train on and one to validate with.

        Args:
            share: of the episodes that go to the second set, rounded; each set gets at least one.
            seed: decides which.

        Raises:
            UserError: the share is not between 0 and 1, or there is but one episode.
        """
        if not 0 < share < 1 or self.num_episodes < 2:
            raise UserError(
                f"{self.num_episodes} episodes cannot be split with a share of {share}: "
                "take a share between 0 and 1 of at least 2 episodes"
            )
        count = min(max(round(share * self.num_episodes), 1), self.num_episodes - 1)
        order = np.random.default_rng(seed).permutation(self.num_episodes)
        return self.select(sorted(order[count:])), self.select(sorted(order[:count]))

    def windows(
        self,
        n_obs_steps: int,
        horizon: int,
        *,
        normalizer: Normalizer | None = None,
        tasks: bool = False,
        loss_weight: NDArray[np.float32] | None = None,
    ) -> Windows:
        """Return the training windows around every frame, over the observation channels and the action.

        Args:
            n_obs_steps: frames of history, the current one included.
            horizon: actions from the current one on.
            normalizer: applied to the low-dimensional channels of all frames at once; batches cost no more.
            tasks: whether batches have "task_index", the place in `instructions`.
            loss_weight: [frames] how much each window counts in training; batches have it too.
        """
        low = {key: self.channels[key] for key in (*self.schema.observation_keys, "action") if key in self.channels}
        if normalizer is not None:
            low = {key: normalizer[key](values) for key, values in low.items()}
        return Windows(
            {**low, **{key: self.images[key] for key in self.schema.observation_keys if key in self.images}},
            starts=self.starts,
            ends=self.ends,
            n_obs_steps=n_obs_steps,
            horizon=horizon,
            task_index=self.task_index if tasks else None,
            loss_weight=loss_weight,
        )
