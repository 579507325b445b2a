"""Kill -9 at random moments of collection and training: is anything lost, and does the same command go on?"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from robolearn.bench._kills import Tally, Victim, torment
from robolearn.eval.results import Measure

SUMMARY = "20 kills of collection, of collection with pictures, and of training: what is lost (eight minutes)"
SEEDS = (0,)

KILLS = 20  # of each command
EPISODES = {"state": 24, "pictures": 8}
STEPS, SAVE_EVERY = 400, 20
SCENE = ("task=lift", "task.max_episode_steps=60", "env.num_envs=2", "env.threads=1", "workers=2", "seed=0")
PICTURES = ("env.cameras=[external,wrist]", "env.image_size=64")
TRAINING = ("policy=flow", "train.batch_size=64", "train.device=cpu", "train.tensorboard=false", "seed=0")
ROUNDING = 1e-9  # relative: statistics of a resumed run are added up in another order


def run(progress: Callable[[str], None]) -> list[Measure]:
    """Kill `robolearn collect` on two workers, with and without pictures, and `robolearn train`; start each again.

    For each: how often it was killed, how often the same command then went on, how many episodes or steps it had
    finished before a kill and lacked after it, and the share of the resumed runs that ended with what an undisturbed
    run writes. That is, of a dataset, all files byte for byte, those of Parquet value for value, statistics up to
    rounding; of a training, the weights byte for byte.
    """
    measures: list[Measure] = []
    with TemporaryDirectory(prefix="robolearn-bench-") as folder:
        for name, victim in _victims(Path(folder), progress).items():
            tally = torment(victim, Path(folder) / name, kills=KILLS, seed=SEEDS[0], progress=progress)
            measures += _measures(name, tally)
    return measures


def _victims(folder: Path, progress: Callable[[str], None]) -> dict[str, Victim]:
    from robolearn.bench._kills import live

    demonstrations = Victim(("collect", *SCENE, "num_episodes=10"), episodes_in, same_dataset)
    progress("collecting demonstrations to train on")
    if (one := live(demonstrations, folder / "demonstrations")).status != 0:
        raise RuntimeError(f"no demonstrations could be collected: {one.said}")
    budget = (f"train.steps={STEPS}", f"train.save_every={SAVE_EVERY}", f"dataset={folder / 'demonstrations'}")
    collections = {
        f"collect.{name}": Victim(
            ("collect", *SCENE, *cameras, f"num_episodes={EPISODES[name]}"), episodes_in, same_dataset
        )
        for name, cameras in (("state", ()), ("pictures", PICTURES))
    }
    return collections | {"train": Victim(("train", *TRAINING, *budget), step_in, same_weights)}


def _measures(name: str, tally: Tally) -> list[Measure]:
    return [
        Measure(f"kills.{name}", tally.kills, "1"),
        Measure(f"resumed.{name}", tally.resumed, "1"),
        Measure(f"lost.{name}", tally.lost, "1"),
        Measure(f"completed.{name}", tally.completed, "1"),
        Measure(f"equal.{name}", tally.equal / max(1, tally.completed), "1"),
    ]


def episodes_in(folder: Path) -> int:
    """Episodes of a dataset that can be read; none where it has not got so far."""
    from robolearn.data.dataset import EpisodeDataset
    from robolearn.errors import UserError

    try:
        return EpisodeDataset.load(folder).num_episodes
    except UserError:
        return 0


def step_in(folder: Path) -> int:
    """Step of a training's checkpoint, 0 where there is none."""
    from robolearn.errors import UserError
    from robolearn.train.checkpoint import load_checkpoint
    from robolearn.train.trainer import CHECKPOINT

    try:
        return int(load_checkpoint(folder / CHECKPOINT)[1]["step"])
    except (UserError, OSError):
        return 0


def same_dataset(one: Path, other: Path) -> bool:
    """Whether two datasets have the same files."""
    names = [sorted(p.relative_to(root) for p in root.rglob("*") if p.is_file()) for root in (one, other)]
    return names[0] == names[1] and all(_same_file(one / name, other / name) for name in names[0])


def _same_file(one: Path, other: Path) -> bool:
    import pyarrow.parquet as pq

    if one.suffix == ".parquet":
        return bool(pq.read_table(one).equals(pq.read_table(other)))
    if one.name == "stats.json":
        return _nearly(json.loads(one.read_text()), json.loads(other.read_text()))
    return one.read_bytes() == other.read_bytes()


def _nearly(one: object, other: object) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_nearly(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_nearly, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= ROUNDING * max(1.0, abs(one))
    return one == other


def same_weights(one: Path, other: Path) -> bool:
    """Whether two trainings ended with the same weights."""
    file = Path("policy") / "model.safetensors"
    return (one / file).read_bytes() == (other / file).read_bytes()
