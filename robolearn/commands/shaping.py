"""Shaping in `robolearn finetune`: where the potential comes from, in worlds and in demonstrations."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robolearn.commands.arm import ROS2
from robolearn.commands.common import require_channels
from robolearn.commands.demonstrations import episodes_of, load_demonstrations
from robolearn.commands.worlds import backend_of
from robolearn.config import EnvConfig, OfflineConfig, ShapingConfig, TaskConfig, TuningConfig
from robolearn.data import layout
from robolearn.errors import UserError, nearest
from robolearn.language import TASK
from robolearn.launch.job import Folder
from robolearn.launch.launcher import Launcher
from robolearn.rewards.shaping import Shaping
from robolearn.schema import Schema

if TYPE_CHECKING:
    from robolearn.data.dataset import EpisodeDataset
    from robolearn.protocols import VecEnv
    from robolearn.rewards.serving import TorchEstimator

NONE, SIMULATOR = "none", "simulator"
UNSHAPED = ShapingConfig(potential=NONE, kind="potential", scale=1.0)


@dataclass(frozen=True)
class Potential:
    """What is added to the reward, and where it comes from; plain data, which is sent to actors.

    Attributes:
        shaping: what is made of the potential.
        estimator: folder of a progress estimator; None for the simulator's own progress.
    """

    shaping: Shaping
    estimator: Folder | None

    def require_fit(self, schema: Schema) -> None:
        """Check that worlds with this schema show what the estimator reads.

        Raises:
            UserError: the folder holds no estimator, or it reads a camera that the worlds lack.
            SchemaError: it reads other channels.
        """
        if self.estimator is not None:
            wanted = self._load().schema
            require_channels(schema, wanted.select(wanted.observation_keys), reader="progress estimator")

    def on(self, env: VecEnv) -> VecEnv:
        """Worlds that also tell the potential."""
        from robolearn.rl.potential import PotentialEnv

        if self.estimator is None:
            return PotentialEnv(env)
        one = self._load()
        # the networks are shared, what was seen is not
        return PotentialEnv(env, [copy.copy(one) for _ in range(env.num_envs)])

    def told(self, data: EpisodeDataset) -> Iterator[dict[str, NDArray[Any]]]:
        """Episodes as `episodes_of` gives them, with the potential of every frame.

        Raises:
            UserError: the dataset does not have what it comes from.
        """
        from robolearn.rl.potential import POTENTIAL

        known = self._recorded(data) if self.estimator is None else self._estimated(data.root)
        for episode, potential in zip(episodes_of(data), known, strict=True):
            yield {**episode, POTENTIAL: potential}

    def _recorded(self, data: EpisodeDataset) -> Iterator[NDArray[np.float32]]:
        if layout.PROGRESS not in data.channels:
            raise UserError(
                f"the demonstrations in {data.root} do not tell the simulator's progress, '{layout.PROGRESS}': collect "
                "them again with `robolearn collect`, or give shaping.potential=FOLDER of a progress estimator"
            )
        for k in range(data.num_episodes):
            yield data.episode(k)[layout.PROGRESS][:, 0]

    def _estimated(self, folder: Path) -> Iterator[NDArray[np.float32]]:
        from robolearn.rl.potential import estimated

        estimator = self._load()
        keys = estimator.schema.observation_keys
        for episode in episodes_of(load_demonstrations(folder, estimator.schema, reader="progress estimator")):
            estimator.reset()
            values = [
                estimated(estimator, {key: episode[key][t] for key in keys}, str(told))
                for t, told in enumerate(episode[TASK])
            ]
            yield np.array(values, np.float32)

    def _load(self) -> TorchEstimator:
        from robolearn.rewards.serving import load_estimator

        assert self.estimator is not None
        with self.estimator.here() as folder:
            return load_estimator(folder)


def potential_of(
    config: ShapingConfig, *, task: TaskConfig, env: EnvConfig, algo: TuningConfig, launcher: Launcher
) -> Potential | None:
    """What a configuration adds to the reward; None for nothing.

    Raises:
        UserError: an unknown name, no such folder, or a potential that these worlds or this algorithm cannot use.
    """
    if config.potential == NONE:
        return None
    shaping = Shaping(config.kind, config.scale)
    if isinstance(algo, OfflineConfig):
        raise UserError("shaping is for algorithms that explore, e.g. algo=residual: leave shaping.potential out")
    if config.potential == SIMULATOR:
        _require_progress(task, env)
        return Potential(shaping, None)
    folder = Path(config.potential)
    if not folder.is_dir():
        raise UserError(
            f"shaping.potential='{folder}' is no folder of a progress estimator"
            f"{nearest(config.potential, (NONE, SIMULATOR))}"
        )
    return Potential(shaping, launcher.folder(folder))


def _require_progress(task: TaskConfig, env: EnvConfig) -> None:
    backend = backend_of(task, env)
    if backend in (ROS2, "gymnasium"):
        raise UserError(
            f"env.backend={backend} knows success, but no progress: give shaping.potential=FOLDER of a progress "
            "estimator, or leave it out"
        )
