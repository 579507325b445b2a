"""Trainings of `robolearn bench rewards`, each in a process of its own: estimator, judgement."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from robolearn.bench._pool import RECORDS, kept, origin
from robolearn.bench._reward_baselines import SCENE, STATE, THEIRS, train_baseline
from robolearn.bench._reward_given import WRONG, clock, oracle
from robolearn.bench._reward_judge import Estimate, Read, judge, judge_controls, pack
from robolearn.bench._reward_pictures import examples
from robolearn.bench._reward_sets import OUT, TEST_EPISODES, TRAIN_EPISODES, judged_sets, train_set
from robolearn.bench._verbs import options, told_to
from robolearn.commands.reward_data import LabelledEpisode, labelled_episodes, labels_of, read_schema, shares_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from robolearn.config import TrainRewardConfig
    from robolearn.data.dataset import EpisodeDataset
    from robolearn.rewards.serving import TorchEstimator

CONTROLLED = 40  # successes on which controls are played
CAMERA = "observation.images.external"
OBSERVED = {"state": (STATE, SCENE), "images": (STATE, CAMERA)}
# frames of a step: 128 x 6, 48 x 48, 96 x 8, 38 x 20 and 96 x 8
TRAINED = {
    "sarm": ("reward=sarm",),
    "recurrent": ("reward=recurrent", "train.batch_size=48"),
    "pairwise": ("reward=pairwise", "train.batch_size=96"),
    "value": ("reward=value", "train.batch_size=38"),
    "preference": ("reward=preference", "train.batch_size=96"),
}
# 64 x 6 and 8 x 48: a picture takes a thread a millisecond
TRAINED_ON_IMAGES = {
    "sarm": ("reward=sarm", "train.batch_size=64"),
    "recurrent": ("reward=recurrent", "train.batch_size=8"),
}
GIVEN = ("clock", "oracle")
TIMED = 200  # frames that an estimator is given one by one


class Run(NamedTuple):
    """One estimator of one task."""

    task: str
    estimator: str
    seed: int
    inputs: str = "state"

    @property
    def folder(self) -> Path:
        """Where its training is kept."""
        kind = "" if self.inputs == "state" else f"-{self.inputs}"
        return OUT / "runs" / f"{self.task}{kind}-{self.estimator}-seed{self.seed}"

    @property
    def record(self) -> Path:
        """Where its result is kept."""
        return RECORDS / "rewards" / f"{self.folder.name}.json"

    @property
    def settings(self) -> dict[str, Any]:
        """What its result depends on."""
        words = self.words
        reward = _composed(words) if words else None
        if self.estimator in THEIRS:
            reward = _composed(()) | {"reward": asdict(THEIRS[self.estimator])}
        return {
            "words": [*words, f"task={self.task}", f"seed={self.seed}"],
            "reward": reward,
            "episodes": [TRAIN_EPISODES, TEST_EPISODES, CONTROLLED],
            "observed": list(OBSERVED[self.inputs]),
        }

    @property
    def words(self) -> tuple[str, ...]:
        """Options of `robolearn train-reward`; none for what is not ours."""
        return (TRAINED if self.inputs == "state" else TRAINED_ON_IMAGES).get(self.estimator, ())

    @property
    def eyes(self) -> Run | None:
        """Whose features of pictures it is given; None where it has none or its own."""
        return self._replace(estimator="sarm") if self.inputs == "images" and self.estimator in THEIRS else None


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


def load_sets(task: str, inputs: str = "state") -> Sets:
    """Collect a task's sets unless they are there, and read them."""
    train = _read(train_set(task, inputs), inputs)
    shares = shares_of(train)
    tests = {}
    for name, folder in judged_sets(task, inputs).items():
        data = _read(folder, inputs)
        tests[name] = labelled_episodes(data, read_schema(data, list(OBSERVED[inputs])), labels_of(data, shares))
    return Sets(train, tests, shares)


def _read(folder: Path, inputs: str) -> EpisodeDataset:
    from robolearn.data.dataset import EpisodeDataset
    from robolearn.data.images import ImageOptions

    return EpisodeDataset.load(folder, images=ImageOptions(keys=(CAMERA,)) if inputs == "images" else None)


def finish(one: Run) -> tuple[Run, dict[str, Any]]:
    """Train, or go on training, and judge; return the run and its result.

    Raises:
        UserError: the folder is of a run with other settings.
    """
    from robolearn.commands.common import claim, save_result, use_one_thread

    if (result := kept(one)) is not None:
        return one, result
    use_one_thread()
    one.folder.mkdir(parents=True, exist_ok=True)
    claim(one.folder, one.settings)
    with told_to(one.folder / "log.txt"):
        sets = load_sets(one.task, one.inputs)
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
        speed = frames_per_s(one, sets.tests["in_distribution"]) if one.words else None
    packed = {name: {key: pack(values) for key, values in one_set.items()} for name, one_set in figures.items()}
    result = {"settings": one.settings, **origin(), "done_at": done_at, "figures": packed}
    if shown:
        result["examples"] = shown
    if speed is not None:
        result["frames_per_s"] = speed
    save_result(one.record, result)
    return one, result


def make(one: Run, sets: Sets) -> tuple[Estimate, float]:
    """Return an estimator, trained if it is to be, and the probability from which it calls a task done."""
    if one.estimator == "clock":
        return clock(sets), 0.999
    if one.estimator == "oracle":
        return oracle(sets, OBSERVED[one.inputs]), 0.5
    if one.estimator in THEIRS:
        return train_baseline(
            THEIRS[one.estimator],
            sets.train,
            sets.shares,
            observed=OBSERVED[one.inputs],
            eyes=None if one.eyes is None else _load(one.eyes, sets.train).model.frames,
            config=_options(()),
            seed=one.seed,
            out=one.folder / "training",
        )
    return trained(one, sets)


def fitted(one: Run, data: EpisodeDataset) -> Path:
    """Train one of our models on `data` by `robolearn train-reward` unless that is done; return its folder."""
    from robolearn.commands.train_reward import train_reward

    if (one.folder / "training" / "validation.json").exists():  # what is written last
        return one.folder / "training" / "model"
    config = _options(("train.device=cpu", "train.tensorboard=false", *one.words))
    train_reward(
        config.reward,
        config.train,
        config.augment,
        data=data,
        observations=list(OBSERVED[one.inputs]),
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

    data = _read(train_set(one.task, one.inputs), one.inputs)
    claim(one.folder, one.settings)
    with told_to(one.folder / "log.txt"):
        return fitted(one, data)


def finish_eyes(one: Run) -> tuple[Run, dict[str, Any]]:
    """Finish a run that others borrow eyes of: where its result was kept in another checkout it is trained anew."""
    from robolearn.commands.common import use_one_thread

    use_one_thread()
    learn_progress(one)
    return finish(one)


def trained(one: Run, sets: Sets) -> tuple[Estimate, float]:
    """One of our models, and the probability from which it calls a task done."""
    estimator = _load(one, sets.train)

    def estimate(frames: Mapping[str, NDArray[Any]], instruction: str) -> Read:
        reading = estimator.episode(frames, instruction)
        return Read(
            reading.stages.argmax(-1).numpy(), reading.progress.double().numpy(), reading.success.double().numpy()
        )

    return estimate, estimator.model.config.done_at


def frames_per_s(one: Run, episodes: Sequence[LabelledEpisode]) -> float:
    """How many frames one of our models reads in a second of a thread's time, given one by one."""
    from robolearn.rewards.serving import load_estimator

    estimator, episode = load_estimator(one.folder / "training" / "model"), episodes[0]
    frames = [{key: values[t % len(values)] for key, values in episode.frames.items()} for t in range(TIMED)]
    estimator.update(frames[0], episode.instruction)
    estimator.reset()
    begun = time.process_time()
    for frame in frames:
        estimator.update(frame, episode.instruction)
    return TIMED / (time.process_time() - begun)


def _load(one: Run, data: EpisodeDataset) -> TorchEstimator:
    from robolearn.rewards.serving import load_estimator

    return load_estimator(fitted(one, data))
