"""Trainings of `robolearn bench rewards`, each in a process of its own: estimator, judgement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from robolearn.bench._pool import RECORDS, kept
from robolearn.bench._reward_baselines import SCENE, STATE, THEIRS, train_baseline
from robolearn.bench._reward_judge import Estimate, Read, judge, judge_controls, pack
from robolearn.bench._reward_pictures import examples
from robolearn.bench._reward_sets import OUT, TEST_EPISODES, TRAIN_EPISODES, test_sets, train_set
from robolearn.bench._verbs import options, told_to
from robolearn.commands.reward_data import LabelledEpisode, labelled_episodes, labels_of, read_schema, shares_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from robolearn.config import TrainRewardConfig
    from robolearn.data.dataset import EpisodeDataset

CONTROLLED = 40  # successes on which controls are played
OBSERVED = (STATE, SCENE)
# how wrong instructions are said that no training saw
WRONG = ("water the plants", "open the window a little", "hand me the screwdriver", "clean the table with the sponge")
# frames of a step: 128 x 6, 48 x 48, 96 x 8, 38 x 20 and 96 x 8
TRAINED = {
    "sarm": ("reward=sarm",),
    "recurrent": ("reward=recurrent", "train.batch_size=48"),
    "pairwise": ("reward=pairwise", "train.batch_size=96"),
    "value": ("reward=value", "train.batch_size=38"),
    "preference": ("reward=preference", "train.batch_size=96"),
}
GIVEN = ("clock", "oracle")


class Run(NamedTuple):
    """One estimator of one task."""

    task: str
    estimator: str
    seed: int

    @property
    def folder(self) -> Path:
        """Where its training is kept."""
        return OUT / "runs" / f"{self.task}-{self.estimator}-seed{self.seed}"

    @property
    def record(self) -> Path:
        """Where its result is kept."""
        return RECORDS / "rewards" / f"{self.folder.name}.json"

    @property
    def settings(self) -> dict[str, Any]:
        """What its result depends on."""
        words = TRAINED.get(self.estimator, ())
        reward = _composed(words) if words else None
        if self.estimator in THEIRS:
            reward = _composed(()) | {"reward": asdict(THEIRS[self.estimator])}
        return {
            "words": [*words, f"task={self.task}", f"seed={self.seed}"],
            "reward": reward,
            "episodes": [TRAIN_EPISODES, TEST_EPISODES, CONTROLLED],
            "observed": list(OBSERVED),
        }


def _options(words: tuple[str, ...]) -> TrainRewardConfig:
    """Options of `robolearn train-reward` by these words."""
    config: TrainRewardConfig = options("train-reward", ("dataset=none", *words))
    return config


def _composed(words: tuple[str, ...]) -> dict[str, Any]:
    """What of these options a result depends on."""
    config = _options(words)
    return {"reward": asdict(config.reward), "augment": asdict(config.augment), "steps": config.train.steps}


class Sets(NamedTuple):
    """Episodes of a task.

    Attributes:
        train: what is learned from.
        tests: labelled episodes by the name of the set.
        shares: of the stages in the progress, from the training's.
    """

    train: EpisodeDataset
    tests: dict[str, list[LabelledEpisode]]
    shares: NDArray[np.float64]


def load_sets(task: str) -> Sets:
    """Collect a task's sets unless they are there, and read them."""
    from robolearn.data.dataset import EpisodeDataset

    train = EpisodeDataset.load(train_set(task))
    shares = shares_of(train)
    tests = {}
    for name, folder in test_sets(task).items():
        data = EpisodeDataset.load(folder)
        tests[name] = labelled_episodes(data, read_schema(data, list(OBSERVED)), labels_of(data, shares))
    return Sets(train, tests, shares)


def finish(one: Run) -> tuple[Run, dict[str, Any]]:
    """Train, or go on training, and judge; return the run and its result.

    Raises:
        UserError: the folder is of a run with other settings.
    """
    from robolearn.commands.common import claim, save_result, use_one_thread
    from robolearn.eval.machine import commit

    if (result := kept(one)) is not None:
        return one, result
    use_one_thread()
    one.folder.mkdir(parents=True, exist_ok=True)
    claim(one.folder, one.settings)
    with told_to(one.folder / "log.txt"):
        sets = load_sets(one.task)
        estimate, done_at = make(one, sets)
        num_stages = len(sets.train.stage_names)
        figures = {
            name: judge(estimate, episodes, num_stages=num_stages, done_at=done_at)
            for name, episodes in sets.tests.items()
        }
        films = [episode for episode in sets.tests["in_distribution"] if episode.success][:CONTROLLED]
        figures["controls"] = judge_controls(estimate, films, wrong=WRONG, seed=one.seed)
        looked_at = sets.tests if one.seed == 0 and one.estimator not in GIVEN else {}
        shown = {name: examples(estimate, episodes) for name, episodes in looked_at.items()}
    packed = {name: {key: pack(values) for key, values in one_set.items()} for name, one_set in figures.items()}
    result = {"settings": one.settings, "commit": commit(), "done_at": done_at, "figures": packed}
    if shown:
        result["examples"] = shown
    save_result(one.record, result)
    return one, result


def make(one: Run, sets: Sets) -> tuple[Estimate, float]:
    """Return an estimator, trained if it is to be, and the probability from which it calls a task done."""
    if one.estimator == "clock":
        return clock(sets), 0.999
    if one.estimator == "oracle":
        return oracle(sets), 0.5
    if one.estimator in THEIRS:
        setup, out = THEIRS[one.estimator], one.folder / "training"
        return train_baseline(setup, sets.train, sets.shares, config=_options(()), seed=one.seed, out=out)
    return trained(one, sets)


def fitted(one: Run, data: EpisodeDataset) -> Path:
    """Train one of our models on `data` by `robolearn train-reward`, or go on training it; return its folder."""
    from robolearn.commands.train_reward import train_reward

    config = _options(("train.device=cpu", "train.tensorboard=false", *TRAINED[one.estimator]))
    train_reward(
        config.reward,
        config.train,
        config.augment,
        data=data,
        observations=list(OBSERVED),
        validation=config.validation,
        seed=one.seed,
        out=one.folder / "training",
    )
    return one.folder / "training" / "model"


def learn_progress(one: Run) -> Path:
    """Train one of our models on its task's episodes unless that is done, for other benchmarks; return its folder.

    Raises:
        UserError: the folder is of a run with other settings.
    """
    from robolearn.commands.common import claim
    from robolearn.data.dataset import EpisodeDataset

    data = EpisodeDataset.load(train_set(one.task))
    claim(one.folder, one.settings)
    with told_to(one.folder / "log.txt"):
        return fitted(one, data)


def trained(one: Run, sets: Sets) -> tuple[Estimate, float]:
    """One of our models, and the probability from which it calls a task done."""
    from robolearn.rewards.serving import load_estimator

    estimator = load_estimator(fitted(one, sets.train))

    def estimate(frames: Mapping[str, NDArray[Any]], instruction: str) -> Read:
        reading = estimator.episode(frames, instruction)
        return Read(
            reading.stages.argmax(-1).numpy(), reading.progress.double().numpy(), reading.success.double().numpy()
        )

    return estimate, estimator.model.config.done_at


def clock(sets: Sets) -> Estimate:
    """T / mean length of the training's successes: right about everything but what happens."""
    from robolearn.commands.reward_data import stages_of

    num_stages = len(sets.train.stage_names)
    done = [int((stage >= num_stages).argmax()) for stage in stages_of(sets.train) if (stage >= num_stages).any()]
    mean, before = float(np.mean(done)), np.cumsum(sets.shares)

    def estimate(frames: Mapping[str, NDArray[Any]], instruction: str) -> Read:
        length = len(next(iter(frames.values())))
        progress = np.minimum(np.arange(length) / mean, 1.0)
        stage = np.searchsorted(before, progress, side="right").clip(max=num_stages)
        return Read(stage, progress, (progress >= 1.0).astype(float))

    return estimate


def oracle(sets: Sets) -> Estimate:
    """The truth, looked up by what is seen: what a perfect reader of the state would say."""
    known = {}
    for episodes in sets.tests.values():
        for episode in episodes:
            for t in range(len(episode.labels.stage)):
                known[_seen(episode.frames, t)] = (episode.labels.stage[t], episode.labels.progress[t])

    def estimate(frames: Mapping[str, NDArray[Any]], instruction: str) -> Read:
        found = [known[_seen(frames, t)] for t in range(len(frames[OBSERVED[0]]))]
        stage, progress = (np.array(column) for column in zip(*found, strict=True))
        if instruction in WRONG:
            stage, progress = np.zeros_like(stage), np.zeros_like(progress)
        return Read(stage, progress, (stage >= len(sets.shares)).astype(float))

    return estimate


def _seen(frames: Mapping[str, NDArray[Any]], t: int) -> bytes:
    return b"".join(np.ascontiguousarray(frames[key][t]).tobytes() for key in OBSERVED)
