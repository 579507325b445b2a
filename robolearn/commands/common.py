"""What several verbs need: worlds, checkpoints, progress bars, results."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from robolearn.acting import ChunkActor, Correction
from robolearn.data import layout
from robolearn.data.files import write_json
from robolearn.errors import UserError
from robolearn.eval.metrics import SuccessRate
from robolearn.eval.rollout import Actor, Episode, Tell, run_episodes
from robolearn.protocols import Policy, VecEnv
from robolearn.schema import Schema

if TYPE_CHECKING:
    from robolearn.acting import Acting
    from robolearn.policies.serving import TorchPolicy

# seeds of evaluation are none of those of collection and learning, which count up from small numbers or are drawn below
# the first of these or above 2**32; those that choose when to stop are not those that are reported
REPORT_SEED, SELECT_SEED = 1_000_000_000, 2_000_000_000
console = Console()


def policy_folder(checkpoint: Path) -> Path:
    """The folder of a policy: `checkpoint`, or the one in it where it is the `out` of a training, also LeRobot's.

    Raises:
        UserError: there is no such folder.
    """
    if not checkpoint.is_dir():
        raise UserError(f"no checkpoint folder '{checkpoint}': give the `out` of `robolearn train` or `finetune`")
    for inner in ("policy", "pretrained_model", "checkpoints/last/pretrained_model"):
        if (checkpoint / inner).is_dir():
            return checkpoint / inner
    return checkpoint


def load_base(folder: Path, task_schema: Schema | None = None) -> TorchPolicy:
    """The policy of a folder alone, without what fine-tuning put on top of it; see `load_checkpoint`."""
    from robolearn.policies.serving import load_policy

    folder = policy_folder(folder)
    return load_policy(folder, _training_schema(folder) or task_schema)


def load_checkpoint(folder: Path, task_schema: Schema | None = None, *, candidates: int | None = None) -> Acting:
    """A policy and what fine-tuning put on top of it, if anything.

    Args:
        folder: of the policy; also one that LeRobot's trainer wrote.
        task_schema: channels of the task that it is for, in case that LeRobot trained it on data that are gone.
        candidates: chunks from which a critic chooses, where one does; as trained when None.

    Raises:
        UserError: the folder is no checkpoint, or one of another policy; nothing chooses between candidates.
    """
    from robolearn.rl.refinement import load_refinement
    from robolearn.rl.units import Units

    policy = load_base(folder, task_schema)
    units = Units(policy.normalizer, policy.schema)
    return load_refinement(policy_folder(folder), policy, units, candidates=candidates)


def _training_schema(folder: Path) -> Schema | None:
    """Channels of the data that LeRobot's trainer read, where they are at hand."""
    config = read_result(folder / "train_config.json")
    root = None if config is None else config["dataset"].get("root")
    file = None if root is None else Path(root) / layout.OWN_SCHEMA
    return Schema.load(file) if file is not None and file.exists() else None


def evaluate(
    env: VecEnv,
    actor: Actor,
    *,
    first_seed: int,
    episodes: int,
    label: str | None = None,
    record: bool = False,
    tell: Tell | None = None,
) -> list[Episode]:
    """Run `episodes` episodes from consecutive seeds.

    `label` shows a bar, `record` keeps frames and poses, `tell` as in `robolearn.eval.rollout.run_episodes`.
    """
    from robolearn.sim.mirror import poses

    seeds = range(first_seed, first_seed + episodes)
    worlds = getattr(env, "worlds", None)
    snapshot = (lambda: {"pose": poses(worlds)}) if record and worlds is not None else None
    with progress(label, episodes) as advance:
        return run_episodes(
            env, actor, seeds, record=record, snapshot=snapshot, on_episode=lambda episode: advance(1), tell=tell
        )


def policy_actor(env: VecEnv, policy: Policy, correction: Correction | None = None) -> ChunkActor:
    """A policy that acts in all worlds of `env`.

    Raises:
        UserError: the policy reads a camera that the worlds lack, or has pictures of another size.
        SchemaError: the policy reads or emits other channels than the environment has.
    """
    require_channels(env.schema, policy.schema)
    return ChunkActor(policy, env.num_envs, correction)


def require_channels(offered: Schema, wanted: Schema, *, reader: str = "policy") -> None:
    """Check that the simulated task has the channels that a policy or another reader wants.

    Raises:
        UserError: a camera is missing, or has pictures of another size.
        SchemaError: another channel differs.
    """
    _require_cameras(offered, wanted, reader=reader)
    wanted.require_same(offered.select(wanted), what="the simulated task")


def _require_cameras(offered: Schema, wanted: Schema, *, reader: str) -> None:
    from robolearn.data.images import is_picture

    shapes = {key: wanted[key].shape for key in wanted.observation_keys if is_picture(wanted[key])}
    for key, shape in shapes.items():
        if key in offered.features and offered[key].shape == shape:
            continue
        names = ",".join(name.rpartition(".")[2] for name in shapes)
        raise UserError(
            f"the {reader} reads pictures '{key}' of {shape[1]} x {shape[0]} pixels, which the simulated task does not "
            f"have: give env.cameras=[{names}] env.image_size={shape[0]}"
        )


def success_rate(episodes: Sequence[Episode]) -> SuccessRate:
    """Successes of episodes."""
    return SuccessRate.of([episode.success for episode in episodes])


@contextmanager
def progress(label: str | None, total: int) -> Iterator[Any]:
    """A progress bar; yields `advance(n, text)`. Without a label nothing is shown."""
    if label is None:
        yield lambda n, text="": None
        return
    columns = (
        TextColumn("{task.description:<12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}"),
    )
    with Progress(*columns, console=console) as bar:
        handle = bar.add_task(label, total=total, text="")
        yield lambda n, text="": bar.update(handle, advance=n, text=text)


def use_one_thread() -> None:
    """Let torch compute on one thread.

    For networks of this size a second one gains little, and threads that wait for each other by spinning make
    everything many times slower as soon as another process wants a core.
    """
    import torch

    torch.set_num_threads(1)


def claim(folder: Path, settings: dict[str, Any]) -> None:
    """Mark `folder` as made with these settings, or check that it was.

    Raises:
        UserError: the folder's work was begun with another value, which is named.
    """
    path = folder / "settings.json"
    kept = read_result(path)
    if kept is None:
        save_result(path, settings)
        return
    for key, value in json.loads(json.dumps(settings)).items():
        if kept.get(key) != value:
            raise UserError(
                f"{folder} was begun with {key}={kept.get(key)}, not {value}: "
                "give the same settings to resume, or another out=FOLDER"
            )


def save_result(path: Path, result: dict[str, Any]) -> None:
    """Write plain JSON in one piece."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, result)


def read_result(path: Path) -> dict[str, Any] | None:
    """Read what `save_result` wrote; None where there is nothing."""
    if not path.exists():
        return None
    result: dict[str, Any] = json.loads(path.read_text())
    return result
