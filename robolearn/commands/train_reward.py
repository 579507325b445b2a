"""`robolearn train-reward`: a reward model from a LeRobot v3 dataset with stages."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from robolearn.commands.common import claim, console, progress, save_result
from robolearn.commands.reward_data import (
    LabelledEpisode,
    footage,
    kinds_of,
    labelled_episodes,
    labels_of,
    read_schema,
    shares_of,
)
from robolearn.commands.reward_monitor import calibrate_kinds, judge_monitor, kind_figures, monitor_figures, watched
from robolearn.commands.reward_pictures import save_validation
from robolearn.commands.train import load_dataset, save_curves
from robolearn.config import AugmentConfig, FittingConfig, RewardConfig, TrainRewardConfig
from robolearn.config.rewards import RecurrentConfig
from robolearn.data.dataset import EpisodeDataset
from robolearn.errors import UserError
from robolearn.monitor_fitting import fit
from robolearn.monitoring import FILE
from robolearn.normalize import Normalizer
from robolearn.rewards.clips import Batch, Tricks, clips, edges, ends_of_successes

if TYPE_CHECKING:
    from robolearn.rewards.model import RewardModel
    from robolearn.rewards.serving import TorchEstimator
    from robolearn.schema import Schema
    from robolearn.train.gradient import Compute


def run(config: TrainRewardConfig) -> None:
    """Train, and say how good the model is on the episodes that were kept for validation."""
    size = config.image_size
    if size is not None and len(size) != 2:
        raise UserError(f"image_size={size} is no size: give image_size=[HEIGHT,WIDTH]")
    figures = train_reward(
        config.reward,
        config.train,
        config.augment,
        data=load_dataset(Path(config.dataset), None, None if size is None else (size[0], size[1])),
        observations=config.observations,
        validation=config.validation,
        seed=config.seed,
        out=Path(config.out),
    )
    text = ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
    console.print(f"on {config.validation:.0%} of the episodes: {text}; model in {config.out}/model")


def train_reward(
    reward: RewardConfig,
    training: FittingConfig,
    augment: AugmentConfig,
    *,
    data: EpisodeDataset,
    observations: list[str] | None = None,
    validation: float,
    seed: int,
    out: Path,
) -> dict[str, float]:
    """Train a reward model on a dataset; resumes from `out`. Returns its figures on validation episodes.

    Written to `out`: `model` (see `robolearn.rewards.serving`), with the numbers of its monitor (`monitor.json`, see
    `robolearn.monitoring`) where an episode of validation succeeded; `validation.json`, `validation.png` (predicted
    beside true progress), `curve.png`, `tensorboard`.

    Args:
        reward: what to build.
        training: how to train it.
        augment: how films are tampered with.
        data: episodes with stages.
        observations: channels that the model reads; None means all that the dataset has.
        validation: share of the episodes that calibrate it.
        seed: of weights, batches and the choice of these episodes.
        out: folder.

    Raises:
        UserError: the dataset has no stages, or no success where the model needs one, or the folder is of another run.
    """
    if isinstance(reward, RecurrentConfig) and reward.kinds == ["auto"]:
        reward = dataclasses.replace(reward, kinds=kinds_of(data))
    shares = shares_of(data)  # before torch and LeRobot, which take seconds to import
    schema = read_schema(data, observations)
    import torch

    from robolearn.rewards.serving import TorchEstimator
    from robolearn.train.feed import to_tensors
    from robolearn.train.gradient import Compute
    from robolearn.train.ranks import joined, pick_device

    torch.set_num_threads(training.threads)
    device = pick_device(training.device)
    kept, held_out = data.split(validation, seed=seed)
    with joined(device) as ranks:
        compute = Compute(device, training.precision, training.accumulate, training.compile, ranks)
        console.quiet = not ranks.first
        torch.manual_seed(seed)
        model = build(reward, schema, stage_names=list(data.stage_names), shares=shares.tolist())
        labels = labels_of(kept, shares)
        if model.needs_success and not any(one.stage[-1] >= len(shares) for one in labels):
            raise UserError(f"no episode of {data.root} ended in success: this model needs some, besides failures")
        if ranks.first:
            claim(out, identity(reward, training, augment, kept, schema))
        model.frames.set_units(Normalizer(schema, kept.statistics))
        films = footage(
            kept,
            schema,
            labels,
            tokenizer=model.frames.tokenizer,
            num_wrong=augment.num_wrong,
            seed=seed,
            reads=model.reads,
            kinds=reward.kinds if isinstance(reward, RecurrentConfig) else (),
        )
        length, gap = model.clip
        batches = clips(
            films,
            length=length,
            gap=gap,
            batch_size=training.batch_size,
            seed=seed,
            tricks=tricks_of(augment, consecutive=model.consecutive),
            often=ends_of_successes(films, len(shares)) if model.needs_success else None,
        )
        result = _fit(model, training, batches, compute=compute, seed=seed, out=out)
        if not ranks.first:
            return {}
        save_curves(out / "curve.png", result)
        starts, goals = (to_tensors(frames) for frames in edges(films, num_stages=len(shares)))
        with torch.no_grad():
            model.cpu().finish(starts, goals)
        judged = labelled_episodes(held_out, schema, labels_of(held_out, shares))
        return _keep(TorchEstimator(model, schema, kept.statistics), judged, out)


def build(reward: RewardConfig, schema: Schema, **settings: Any) -> RewardModel:
    """A reward model for these channels, not yet trained."""
    from hydra.utils import get_method

    options = {key: value for key, value in dataclasses.asdict(reward).items() if key != "_target_"}
    make: Callable[..., RewardModel] = get_method(reward._target_)
    return make(schema, **options, **settings)


def tricks_of(augment: AugmentConfig, *, consecutive: bool) -> Tricks:
    """How films are tampered with; not in time where their frames must follow each other."""
    if consecutive:
        return Tricks(rewind=0.0, pause=0.0, warp=0.0, still=0.0, wrong=augment.wrong)
    return Tricks(
        rewind=augment.rewind, pause=augment.pause, warp=augment.warp, still=augment.still, wrong=augment.wrong
    )


def identity(
    reward: RewardConfig, training: FittingConfig, augment: AugmentConfig, data: EpisodeDataset, schema: Schema
) -> dict[str, Any]:
    """What must not change between a training and its resumption, besides what the checkpoint itself tells."""
    return {
        "reward": dataclasses.asdict(reward),
        "augment": dataclasses.asdict(augment),
        "batch_size": training.batch_size,
        "observations": list(schema.observation_keys),
        "episodes": data.num_episodes,
        "frames": data.num_frames,
    }


def _fit(
    model: RewardModel,
    training: FittingConfig,
    batches: Callable[[int], Batch],
    *,
    compute: Compute,
    seed: int,
    out: Path,
) -> dict[str, Any]:
    from robolearn.train.logs import open_logs
    from robolearn.train.trainer import train as fit

    first = compute.ranks.first
    logs = open_logs(
        out,
        tensorboard=training.tensorboard if first else False,
        wandb=training.wandb if first else None,
        settings={"train": dataclasses.asdict(training), "seed": seed},
    )
    done = 0
    with logs as log, progress("train", training.steps) as advance:

        def on_step(step: int, loss: float, rate: float) -> None:
            nonlocal done
            if step % 20 == 0 or step == training.steps:
                advance(step - done, f"loss {loss:.3f}")
                done = step

        return fit(
            model,
            batches,
            steps=training.steps,
            out=out,
            learning_rate=training.learning_rate,
            warmup=training.warmup,
            weight_decay=training.weight_decay,
            ema_decay=training.ema_decay,
            seed=seed,
            save_every=training.save_every,
            compute=compute,
            on_step=on_step,
            log=log,
        )


def _keep(estimator: TorchEstimator, episodes: list[LabelledEpisode], out: Path) -> dict[str, float]:
    """Calibrate a model, save it, and return what it says of these episodes."""
    from robolearn.rewards.calibration import best_temperature, done_threshold
    from robolearn.rewards.serving import save_estimator

    config, num_stages = estimator.model.config, estimator.model.config.num_stages
    truths = [episode.labels.stage for episode in episodes]
    before = [estimator.episode(episode.frames, episode.instruction) for episode in episodes]
    config.temperature = best_temperature([reading.stages.numpy() for reading in before], truths)
    readings = [estimator.episode(episode.frames, episode.instruction) for episode in episodes]
    config.done_at = done_threshold(
        [reading.success.numpy() for reading in readings], [truth >= num_stages for truth in truths]
    )
    kinds = calibrate_kinds(estimator, episodes) if getattr(config, "kinds", []) else []
    save_estimator(out / "model", estimator)
    seen = watched(readings, episodes)
    called = judge_monitor(seen, num_stages=num_stages, done_at=config.done_at)
    if any(one.done(num_stages).any() for one in seen):
        monitor = fit(seen, num_stages=num_stages, done_at=config.done_at)
        monitor.save(out / "model" / FILE)
    right = [
        (reading.stages.argmax(-1).numpy() == truth).mean() for reading, truth in zip(readings, truths, strict=True)
    ]
    error = [
        np.abs(reading.progress.numpy() - episode.labels.progress).mean()
        for reading, episode in zip(readings, episodes, strict=True)
    ]
    figures = {"stage_accuracy": float(np.mean(right)), "progress_error": float(np.mean(error))}
    figures |= monitor_figures(called, fps=estimator.schema.fps)
    if kinds:
        figures |= kind_figures(estimator, kinds, episodes, called)
    save_result(out / "validation.json", figures)
    save_validation(out / "validation.png", readings, episodes)
    return figures
