"""`robolearn train`: a policy from a LeRobot v3 dataset."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from robolearn.commands.common import console, progress, use_one_thread
from robolearn.config import PolicyConfig, TrainConfig, TrainingConfig


def run(config: TrainConfig) -> None:
    """Train, and say what was written."""
    result = train(config.policy, config.train, dataset=Path(config.dataset), seed=config.seed, out=Path(config.out))
    console.print(f"loss {result['loss']:.4f} after {result['steps']} steps; policy in {config.out}")


def train(policy: PolicyConfig, training: TrainingConfig, *, dataset: Path, seed: int, out: Path) -> dict[str, Any]:
    """Train a policy on a dataset and save it; resumes from `out`. Returns what `robolearn.train.trainer.train` does.

    Raises:
        UserError: the dataset is missing, empty or holds a NaN; the checkpoint in `out` is of another run.
    """
    from robolearn.data.dataset import EpisodeDataset

    data = EpisodeDataset.load(dataset)  # before torch and LeRobot, which take seconds to import
    import torch
    from hydra.utils import get_method

    from robolearn.normalize import Normalizer
    from robolearn.policies.serving import TorchPolicy, save_policy
    from robolearn.train.trainer import train as fit

    use_one_thread()
    torch.manual_seed(seed)
    settings = {key: value for key, value in dataclasses.asdict(policy).items() if key != "_target_"}
    build: Callable[..., Any] = get_method(policy._target_)
    schema = data.schema.select([*data.schema.observation_keys, "action"])
    model = build(schema, **settings)
    windows = data.windows(policy.n_obs_steps, policy.horizon, normalizer=Normalizer(schema, data.statistics))
    done = 0
    with progress("train", training.steps) as advance:

        def on_step(step: int, loss: float, rate: float) -> None:
            nonlocal done
            if step % 20 == 0 or step == training.steps:
                advance(step - done, f"loss {loss:.3f}")
                done = step

        result = fit(
            model,
            windows.shuffled(training.batch_size, seed=seed),
            steps=training.steps,
            out=out,
            learning_rate=training.learning_rate,
            warmup=training.warmup,
            weight_decay=training.weight_decay,
            ema_decay=training.ema_decay,
            seed=seed,
            save_every=training.save_every,
            on_step=on_step,
        )
    save_policy(out / "policy", TorchPolicy(model, schema, data.statistics))
    return result
