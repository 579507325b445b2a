"""Verbs of the command line as benchmarks call them: their worlds on one thread, and nothing told but to a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robolearn.eval.quality import Quality


@cache
def options(verb: str, words: tuple[str, ...]) -> Any:
    """Return a verb's options by these words and the presets of the moment; nobody may change them."""
    from robolearn.compose import build, compose

    return build(verb, compose(verb, list(words)))


@contextmanager
def told_to(path: Path) -> Iterator[None]:
    """Let a run's own progress go to a file: several run at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file, redirect_stdout(file):
        yield


def collect(words: Sequence[str], *, num_episodes: int, seed: int, out: Path, success_only: bool = True) -> Quality:
    """`robolearn collect` with the options `words`; see `robolearn.commands.collect.collect`."""
    from robolearn.commands import collect as verb
    from robolearn.commands.attempts import Scenario
    from robolearn.compose import build, compose

    config = build("collect", compose("collect", ["env.threads=1", *words]))
    scenario = Scenario(config.task, config.robot, config.env, config.expert, config.randomization, config.linger)
    return verb.collect(scenario, num_episodes=num_episodes, seed=seed, out=out, success_only=success_only)


def train(words: Sequence[str], *, dataset: Path, seed: int, out: Path) -> dict[str, Any]:
    """`robolearn train` on the CPU with the options `words`; see `robolearn.commands.train.train`."""
    from robolearn.commands import train as verb
    from robolearn.compose import build, compose

    words = [f"dataset={dataset}", "train.device=cpu", "train.tensorboard=false", *words]
    config = build("train", compose("train", words))
    return verb.train(config.policy, config.train, dataset=dataset, seed=seed, out=out)


def finetune(
    words: Sequence[str], *, checkpoint: Path, dataset: Path | None, seed: int, out: Path
) -> list[dict[str, float]]:
    """`robolearn finetune` with the options `words`; see `robolearn.commands.finetune.finetune`."""
    from robolearn.commands import finetune as verb
    from robolearn.compose import build, compose

    config = build("finetune", compose("finetune", ["env.threads=1", f"checkpoint={checkpoint}", *words]))
    worlds = (config.task, config.robot, config.env, config.algo)
    return verb.finetune(*worlds, checkpoint=checkpoint, dataset=dataset, seed=seed, out=out, shaping=config.shaping)


def demonstrate(task: str, *, num_episodes: int, out: Path) -> Quality:
    """Collect scripted demonstrations without noise, of seed 0."""
    return collect((f"task={task}", "expert=scripted", "expert.noise=0"), num_episodes=num_episodes, seed=0, out=out)


def export(task: str, *, checkpoint: Path, out: Path) -> float:
    """`robolearn export`, without provenance; see `robolearn.commands.export.export`."""
    from robolearn.commands import export as verb
    from robolearn.compose import build, compose

    config = build("export", compose("export", [f"task={task}", f"checkpoint={checkpoint}"]))
    return verb.export(config.task, config.robot, checkpoint=checkpoint, out=out, config_yaml="{}\n", notes={})


def trained_bundle(task: str, words: Sequence[str], *, num_episodes: int, out: Path) -> Path:
    """Demonstrate, train with the options `words` and export into `out`, unless that is done; return the bundle.

    Raises:
        UserError: it was begun with other settings.
    """
    from robolearn.commands.common import claim

    data, trained, bundle = out / "demonstrations", out / "policy", out / "bundle"
    out.mkdir(parents=True, exist_ok=True)
    claim(out, {"task": task, "demonstrations": num_episodes, "train": list(words)})
    if not bundle.exists():
        with told_to(out / "log.txt"):
            demonstrate(task, num_episodes=num_episodes, out=data)
            train((f"task={task}", *words), dataset=data, seed=0, out=trained)
            export(task, checkpoint=trained, out=bundle)
    return bundle
