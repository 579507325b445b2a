"""Trainings of `robolearn bench rabc`, each in a process of its own: weights, policy, evaluation."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from robolearn.bench._pool import RECORDS, kept, origin
from robolearn.bench._reward_runs import Run as RewardRun
from robolearn.bench._reward_runs import learn_progress
from robolearn.bench._reward_sets import ALL, TRAIN_EPISODES, Part, merged, train_set
from robolearn.bench._rl_problems import EPISODES, FLOW
from robolearn.bench._rl_runs import TRAINING, judge
from robolearn.bench._verbs import options, told_to, train

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from robolearn.data.dataset import EpisodeDataset

OUT = Path("outputs/bench/rabc")
TASKS = ("pick_place", "stack", "drawer_place")
DEMONSTRATIONS = 50  # of each half
FIRST_SEED = 500_000_000  # of demonstrations: reward models learn from episodes of smaller ones
GOOD = ("expert=scripted", "expert.noise=0.2", "env.num_envs=8")
BAD = ("expert=varied", "expert.noise=0.2", "env.num_envs=8")
CLEAN = "clean"
HALVES = (CLEAN, "corrupted")
MODEL, TRUTH = "sarm", "truth"  # who says how far a frame is


class Row(NamedTuple):
    """How a policy is trained.

    Attributes:
        weigher: whose progress weighs the frames, `MODEL` or `TRUTH`; None weighs all the same.
        data: the demonstrations, `ALL` or `CLEAN`.
    """

    weigher: str | None = None
    data: str = ALL


ROWS = {"bc": Row(), "rabc": Row(MODEL), "oracle": Row(TRUTH), "clean": Row(data=CLEAN)}


class Run(NamedTuple):
    """One training."""

    task: str
    row: str
    seed: int

    @property
    def folder(self) -> Path:
        """Where its training is kept."""
        return OUT / "runs" / f"{self.task}-{self.row}-seed{self.seed}"

    @property
    def record(self) -> Path:
        """Where its result is kept."""
        return RECORDS / "rabc" / f"{self.folder.name}.json"

    @property
    def settings(self) -> dict[str, Any]:
        """What its result depends on."""
        config, row = options("train", ("dataset=none", *FLOW)), ROWS[self.row]
        rate, weighting = config.train.learning_rate, [config.train.weighting, config.train.kappa]
        return {
            "words": [*FLOW, f"task={self.task}", f"seed={self.seed}"],
            "policy": asdict(config.policy),
            "training": [config.train.steps, config.train.batch_size, rate],
            "demonstrations": _described(self.task),
            "data": row.data,
            "weighting": weighting if row.weigher else None,
            "weigher": self.weigher,
            "episodes": EPISODES,
        }

    @property
    def weigher(self) -> dict[str, Any] | None:
        """What the progress depends on that weighs the frames; None where they are not weighed."""
        who = ROWS[self.row].weigher
        if who is None:
            return None
        return {"name": who, **(self.model.settings if who == MODEL else {"episodes_for_shares": TRAIN_EPISODES})}

    @property
    def model(self) -> RewardRun:
        """The reward model of `robolearn bench rewards` that weighs the frames, where one does."""
        return RewardRun(self.task, MODEL, self.seed)


@cache
def parts(task: str) -> dict[str, Part]:
    """Demonstrations of a task by kind: the clean half, then that of all its failures, as many of each as of others."""
    from robolearn.sim.failures import kinds_for
    from robolearn.sim.tasks import make_task

    kinds = kinds_for(make_task(task))
    found = {CLEAN: Part((f"task={task}", *GOOD), DEMONSTRATIONS, success_only=True)}
    for i, kind in enumerate(kinds[:DEMONSTRATIONS]):
        count = DEMONSTRATIONS // len(kinds) + (i < DEMONSTRATIONS % len(kinds))
        found[kind] = Part((f"task={task}", *BAD, f"expert.failure={kind}"), count)
    return found


def _described(task: str) -> dict[str, Any]:
    return {name: [*part.words, part.episodes] for name, part in parts(task).items()}


def demonstrations(task: str) -> Path:
    """Collect a task's demonstrations unless they are there; return the folder of `ALL` and `CLEAN`.

    Raises:
        UserError: those that are there were collected with other settings.
    """
    from robolearn.commands.common import claim

    folder = OUT / "data" / task
    claim(folder, _described(task))
    merged(folder, parts(task), seed=FIRST_SEED)
    return folder


def prepare(task: str, rows: set[str]) -> str:
    """Collect what these rows of a task learn from unless it is there; say what that is."""
    folder = demonstrations(task)
    text = f"{task}: {DEMONSTRATIONS} clean and {DEMONSTRATIONS} corrupted demonstrations in {folder}"
    return f"{text}, for weighing {train_set(task)}" if any(ROWS[row].weigher for row in rows) else text


def finish(one: Run) -> tuple[Run, dict[str, Any]]:
    """Train, or go on training, and judge; return the run and its result.

    Raises:
        UserError: the folder is of a run with other settings.
    """
    from robolearn.commands.common import claim, save_result, use_one_thread
    from robolearn.data.dataset import EpisodeDataset

    if (result := kept(one)) is not None:
        return one, result
    use_one_thread()
    claim(one.folder, one.settings)
    root = OUT / "data" / one.task / ROWS[one.row].data
    data = EpisodeDataset.load(root)
    with told_to(one.folder / "log.txt"):
        weights = _weigh(one, data)
        words = FLOW if weights is None else (*FLOW, f"train.weights={weights}")
        train(words, dataset=root, seed=one.seed, out=one.folder / TRAINING)
        outcomes = judge(one.task, one.folder / TRAINING)
    result = {
        "settings": one.settings,
        **origin(),
        "ended_well": None if ROWS[one.row].data == CLEAN else sum(data.columns["success"][DEMONSTRATIONS:]),
        "weights": None if weights is None else weights_of(weights, data),
        "outcomes": outcomes,
    }
    save_result(one.record, result)
    return one, result


def _weigh(one: Run, data: EpisodeDataset) -> Path | None:
    """Write the progress that weighs a run's frames, unless it is there; return the file, None where nothing does."""
    from robolearn.data.progress import write_progress

    who = ROWS[one.row].weigher
    if who is None:
        return None
    path = one.folder / "progress.parquet"
    if not path.exists():
        progress = _read(one, data) if who == MODEL else true_progress(one.task, data)
        write_progress(path, progress, starts=data.starts, ends=data.ends, source=who)
    return path


def _read(one: Run, data: EpisodeDataset) -> NDArray[np.float64]:
    """Progress [frames] as a reward model sees it, trained if it is not yet."""
    from robolearn.commands.readings import open_reader, read_dataset, with_pictures

    folder = learn_progress(one.model)
    reader = open_reader(folder, data)
    place = one.folder / "readings"
    return read_dataset(reader, with_pictures(data, reader), identity={"model": str(folder)}, kept=place).progress


def true_progress(task: str, data: EpisodeDataset) -> NDArray[np.float64]:
    """Progress [frames] by the simulator's predicates, its stages as long as for the model."""
    from robolearn.commands.reward_data import labels_of, shares_of
    from robolearn.data.dataset import EpisodeDataset

    labels = labels_of(data, shares_of(EpisodeDataset.load(train_set(task))))
    return np.concatenate([one.progress for one in labels])


def weights_of(path: Path, data: EpisodeDataset) -> dict[str, Any]:
    """Say how the frames of `ALL` are weighed by a progress file: in words, and the mean of each half's frames."""
    from robolearn.commands.sample_weights import load_sample_weights

    config = options("train", ("dataset=none", *FLOW, f"train.weights={path}"))
    weights = load_sample_weights(config.train, data, horizon=config.policy.horizon)
    assert weights is not None  # as there is a file
    halves = np.split(weights.values, [data.starts[DEMONSTRATIONS]])
    return {"text": str(weights), **{name: float(half.mean()) for name, half in zip(HALVES, halves, strict=True)}}
