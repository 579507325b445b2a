"""`robolearn train`: a policy from a LeRobot v3 dataset, in one process or, by `accelerate launch`, in several."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robolearn.commands.common import SELECT_SEED, claim, console, evaluate, policy_actor, progress, success_rate
from robolearn.commands.sample_weights import SampleWeights, load_sample_weights, require_loss_per_sample
from robolearn.commands.worlds import make_any_env
from robolearn.config import EnvConfig, PolicyConfig, RobotConfig, TaskConfig, TrainConfig, TrainingConfig
from robolearn.data.dataset import EpisodeDataset
from robolearn.data.images import ImageOptions
from robolearn.data.reading import read_info
from robolearn.data.windows import Batch
from robolearn.errors import UserError, nearest

if TYPE_CHECKING:
    from robolearn.policies.serving import TorchPolicy
    from robolearn.schema import Schema
    from robolearn.train.gradient import Compute


@dataclass(frozen=True)
class Worlds:
    """Where a policy is tried while it learns."""

    task: TaskConfig
    robot: RobotConfig
    env: EnvConfig


def run(config: TrainConfig) -> None:
    """Train, and say what was written."""
    size = config.image_size
    if size is not None and len(size) != 2:
        raise UserError(f"image_size={size} is no size: give image_size=[HEIGHT,WIDTH]")
    result = train(
        config.policy,
        config.train,
        dataset=Path(config.dataset),
        seed=config.seed,
        out=Path(config.out),
        worlds=Worlds(config.task, config.robot, config.env),
        observations=config.observations,
        image_size=None if size is None else (size[0], size[1]),
    )
    console.print(f"loss {result['loss']:.4f} after {result['steps']} steps; policy in {config.out}")


def train(
    policy: PolicyConfig,
    training: TrainingConfig,
    *,
    dataset: Path,
    seed: int,
    out: Path,
    worlds: Worlds | None = None,
    observations: Sequence[str] | None = None,
    image_size: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """Train a policy on a dataset; resumes from `out`. Returns what `robolearn.train.trainer.train` does.

    Written to `out`: `policy`, the averaged weights at the last checkpoint; `best`, those with the highest success in
    simulation; `curve.png`; `tensorboard`.

    Args:
        policy: what to build.
        training: how to train it.
        dataset: folder.
        seed: of weights and batches.
        out: folder.
        worlds: where it is evaluated; needed for `training.eval_every`.
        observations: channels that the policy reads; None means all that the dataset has.
        image_size: (height, width) to which pictures are resized.

    Raises:
        UserError: the dataset is missing, empty or holds a NaN; its progress file, if wanted, is no good; the folder
            or the checkpoint in it is of another run; the worlds have other channels.
    """
    data = load_dataset(dataset, observations, image_size)  # before torch and LeRobot, which take seconds to import
    weights = load_sample_weights(training, data, horizon=policy.horizon)
    import torch

    from robolearn.train.gradient import Compute
    from robolearn.train.ranks import joined, pick_device

    torch.set_num_threads(training.threads)
    device = pick_device(training.device)
    with joined(device) as ranks:
        compute = Compute(device, training.precision, training.accumulate, training.compile, ranks)
        console.quiet = not ranks.first
        torch.manual_seed(seed)
        schema = data.schema.select([*data.schema.observation_keys, "action"])
        pupil = _Pupil(build(policy, schema, data), data, schema, out)
        if weights is not None:
            require_loss_per_sample(pupil.model)
            console.print(f"weights: {weights}")
        judge = None
        if training.eval_every is not None and ranks.first:
            judge = _Judge(pupil, worlds, training.eval_episodes)
        if ranks.first:
            claim(out, identity(policy, training, data, weights))
        result = _fit(pupil, policy, training, data, weights, seed=seed, compute=compute, judge=judge)
        if ranks.first:
            pupil.keep("policy")
            save_curves(out / "curve.png", result)
    return result


def load_dataset(
    folder: Path, observations: Sequence[str] | None, image_size: tuple[int, int] | None
) -> EpisodeDataset:
    """Read a dataset with these observation channels, all where None; pictures may be resized.

    Raises:
        UserError: a channel is not there, or the dataset is no good.
    """
    keys = None
    if observations is not None:
        features = read_info(folder)["features"]
        if unknown := [key for key in observations if key not in features]:
            raise UserError(f"the dataset has no channel '{unknown[0]}'{nearest(unknown[0], features)}")
        keys = tuple(key for key in observations if len(features[key]["shape"]) == 3)
    data = EpisodeDataset.load(folder, images=ImageOptions(keys, image_size), progress=progress)
    if observations is None:
        return data
    return dataclasses.replace(data, schema=data.schema.select([*observations, "action"]))


def build(policy: PolicyConfig, schema: Schema, data: EpisodeDataset | None = None) -> Any:
    """A policy for these channels, not yet trained on `data`; a builder with a parameter `data` may look at them."""
    from hydra.utils import get_method

    settings = {key: value for key, value in dataclasses.asdict(policy).items() if key != "_target_"}
    make: Callable[..., Any] = get_method(policy._target_)
    if "data" in inspect.signature(make).parameters:
        settings["data"] = data
    return make(schema, **settings)


def identity(
    policy: PolicyConfig, training: TrainingConfig, data: EpisodeDataset, weights: SampleWeights | None
) -> dict[str, Any]:
    """What must not change between a training and its resumption, besides what the checkpoint itself tells."""
    return {
        "policy": dataclasses.asdict(policy),
        "batch_size": training.batch_size,
        "observations": list(data.schema.observation_keys),
        "episodes": data.num_episodes,
        "frames": data.num_frames,
        "weights": None if weights is None else weights.origin,
    }


def save_curves(path: Path, result: dict[str, Any]) -> None:
    """Draw loss and, where there were evaluations, success over the steps."""
    from robolearn.eval.charts import Chart, Series
    from robolearn.eval.plots import save_charts

    steps, losses = zip(*result["curve"], strict=True)
    charts = [Chart("loss", "steps", "loss", [Series("training", steps, losses)])]
    if result["evaluations"]:
        steps, figures = zip(*result["evaluations"], strict=True)
        rates = [one["success"] for one in figures]
        charts.append(Chart("success", "steps", "rate", [Series("success", steps, rates)], ylim=(0.0, 1.02)))
    save_charts(path, charts)


class _Pupil:
    """A policy that learns, and its folder."""

    def __init__(self, model: Any, data: EpisodeDataset, schema: Schema, out: Path) -> None:
        self.model, self.statistics, self.schema, self.out = model, data.statistics, schema, out

    def served(self) -> TorchPolicy:
        """The policy, as it is at any moment."""
        from robolearn.policies.serving import TorchPolicy

        if hasattr(self.model, "served"):  # it knows better, e.g. normalises by itself
            served: TorchPolicy = self.model.served()
            return served
        return TorchPolicy(self.model, self.schema, self.statistics)

    def keep(self, name: str) -> None:
        """Write it to the folder `name`."""
        from robolearn.policies.serving import save_policy

        save_policy(self.out / name, self.served())


class _Judge:
    """Evaluates a pupil in simulation, on seeds that are kept for choosing."""

    def __init__(self, pupil: _Pupil, worlds: Worlds | None, episodes: int) -> None:
        if worlds is None:
            raise UserError("train.eval_every needs worlds to evaluate in: leave it null here")
        self._pupil, self._episodes = pupil, episodes
        num_envs = min(worlds.env.num_envs, episodes)
        self._env = make_any_env(worlds.task, worlds.robot, worlds.env, num_envs=num_envs)
        policy_actor(self._env, pupil.served())  # a mismatch of channels shows now, not after hours

    def __call__(self, step: int) -> dict[str, float]:
        actor = policy_actor(self._env, self._pupil.served())
        episodes = evaluate(self._env, actor, first_seed=SELECT_SEED, episodes=self._episodes)
        return {"success": success_rate(episodes).rate}


def _fit(
    pupil: _Pupil,
    policy: PolicyConfig,
    training: TrainingConfig,
    data: EpisodeDataset,
    weights: SampleWeights | None,
    *,
    seed: int,
    compute: Compute,
    judge: _Judge | None,
) -> dict[str, Any]:
    from robolearn.normalize import Normalizer
    from robolearn.train.logs import open_logs
    from robolearn.train.trainer import train as fit

    physical = getattr(pupil.model, "takes_physical_units", False)
    windows = data.windows(
        policy.n_obs_steps,
        policy.horizon,
        normalizer=None if physical else Normalizer(pupil.schema, pupil.statistics),
        tasks=getattr(pupil.model, "reads_task", False),
        loss_weight=None if weights is None else weights.values,
    )
    first = compute.ranks.first
    settings = {"policy": dataclasses.asdict(policy), "train": dataclasses.asdict(training), "seed": seed}
    logs = open_logs(
        pupil.out,
        tensorboard=training.tensorboard if first else False,
        wandb=training.wandb if first else None,
        settings=settings,
    )
    done, success = 0, ""
    with logs as log, progress("train", training.steps) as advance:

        def on_step(step: int, loss: float, rate: float) -> None:
            nonlocal done
            if step % 20 == 0 or step == training.steps:
                advance(step - done, f"loss {loss:.3f}{success}")
                done = step

        def tell(step: int, figures: Mapping[str, float]) -> None:
            nonlocal success
            if "eval/success" in figures:
                success = f"  success {figures['eval/success']:.0%}"
                advance(0, success.strip())
            log(step, figures)

        return fit(
            pupil.model,
            _told(windows.shuffled(training.batch_size, seed=seed), pupil.model, data.instructions),
            steps=training.steps,
            out=pupil.out,
            learning_rate=training.learning_rate,
            warmup=training.warmup,
            weight_decay=training.weight_decay,
            ema_decay=training.ema_decay,
            seed=seed,
            save_every=training.save_every,
            compute=compute,
            on_step=on_step,
            evaluate=judge,
            evaluate_every=training.eval_every,
            keep=pupil.keep,
            log=tell,
        )


def _told(batches: Callable[[int], Batch], model: Any, instructions: Sequence[str]) -> Callable[[int], Batch]:
    """Add to batches what a model makes of their instructions; all are encoded once."""
    if not hasattr(model, "encode_task"):
        return batches
    encoded = model.encode_task(instructions)

    def batch_of(step: int) -> Batch:
        batch = batches(step)
        return batch | {key: values[batch["task_index"]] for key, values in encoded.items()}

    return batch_of
