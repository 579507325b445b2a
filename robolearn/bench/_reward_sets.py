"""Episodes of `robolearn bench rewards`: successes of all kinds, partial runs and failures; some failures held out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from robolearn.bench._verbs import collect, options, told_to

OUT = Path("outputs/bench/rewards")
ALL = "all"  # folder of joined parts
TASKS = ("pick_place", "stack", "drawer_place")
TRAIN_EPISODES, TEST_EPISODES = 600, 120  # about
HELD_OUT = ("slip", "wrong_sequence")  # failures that no training sees
VARIED = ("expert=varied", "linger=15", "env.num_envs=8")
INPUTS = ("state", "images")  # what estimators see; sets with images have states too
PICTURES = ("env.cameras=[external]", "env.image_size=64")
LOOKS = ("colour", "camera_shift", "camera_turn", "light", "light_tilt")  # that vary in sets with images
SEEN, UNSEEN = "light", "full"  # by how much: in training, and with failures that are held out
TEST_SEED = 700_000_000  # the sets before these were looked at while estimators were chosen


class Part(NamedTuple):
    """Episodes of one kind.

    Attributes:
        words: options of `robolearn collect`.
        episodes: how many.
        success_only: whether failures are left out.
    """

    words: tuple[str, ...]
    episodes: int
    success_only: bool = False


def parts(task: str, *, episodes: int, held_out: bool, inputs: str = "state") -> dict[str, Part]:
    """What a set consists of, by name.

    Args:
        task: its name.
        episodes: of the set, about how many.
        held_out: whether it is the set of failures that no training sees, among as many successes; its images look
            different too.
        inputs: what it is for.
    """
    from robolearn.sim.failures import kinds_for
    from robolearn.sim.tasks import make_task

    limit = f"task.max_episode_steps={2 * make_task(task).max_episode_steps}"  # slow episodes take longer
    seen = (*PICTURES, *looks(UNSEEN if held_out else SEEN)) if inputs == "images" else ()
    varied = (f"task={task}", limit, *VARIED, "expert.noise=0.2", *seen)
    failing = [kind for kind in kinds_for(make_task(task)) if (kind in HELD_OUT) is held_out]
    shares = {"varied": 0.4} if held_out else {"varied": 0.5, "partial": 0.1}
    shares |= {kind: 0.4 / len(failing) for kind in failing}
    own = {"partial": ("expert.stop=1",)} | {kind: (f"expert.failure={kind}",) for kind in failing}
    return {
        kind: Part((*varied, *own.get(kind, ())), max(round(share * episodes), 1)) for kind, share in shares.items()
    }


def looks(preset: str) -> tuple[str, ...]:
    """Options by which what is seen varies as in a preset of `randomization`, and nothing else does."""
    ranges = asdict(options("collect", (f"randomization={preset}", "out=none")).randomization)
    return tuple(f"randomization.{name}=[{','.join(map(str, ranges[name]))}]" for name in LOOKS)


def gather(task: str, name: str, *, episodes: int, seed: int, held_out: bool = False, inputs: str = "state") -> Path:
    """Collect a set unless it is there, and return its folder.

    Args:
        task: its name.
        name: of the set.
        episodes: about how many.
        seed: see `merged`.
        held_out: see `parts`.
        inputs: see `parts`.
    """
    folder = OUT / "data" / task / f"{name}-{episodes}{'' if inputs == 'state' else f'-{inputs}'}"
    return merged(folder, parts(task, episodes=episodes, held_out=held_out, inputs=inputs), seed=seed)


def merged(folder: Path, found: Mapping[str, Part], *, seed: int) -> Path:
    """Collect parts into subfolders and join them, in this order, unless that is done; return the folder of all.

    Args:
        folder: where; the parts keep their names.
        found: the parts.
        seed: of the first episode of the first part; other parts begin a million further on each.
    """
    from robolearn.data.merge import merge

    if (folder / ALL).exists():
        return folder / ALL
    folder.mkdir(parents=True, exist_ok=True)
    with told_to(folder / "log.txt"):
        for i, (name, part) in enumerate(found.items()):
            collect(
                part.words,
                num_episodes=part.episodes,
                seed=seed + i * 1_000_000,
                out=folder / name,
                success_only=part.success_only,
            )
        merge([folder / name for name in found], folder / ALL)
    return folder / ALL


def gather_all(task: str, inputs: str = "state") -> int:
    """Collect a task's sets unless they are there; return the number of their episodes."""
    from robolearn.data.reading import read_info

    folders = [train_set(task, inputs), *judged_sets(task, inputs).values()]
    return sum(read_info(folder)["total_episodes"] for folder in folders)


def train_set(task: str, inputs: str = "state") -> Path:
    """What is learned from."""
    return gather(task, "train", episodes=TRAIN_EPISODES, seed=0, inputs=inputs)


def judged_sets(task: str, inputs: str = "state") -> dict[str, Path]:
    """What is judged by."""
    sets = {}
    for i, name in enumerate(("in_distribution", "held_out")):
        seed, held_out = TEST_SEED + i * 100_000_000, name == "held_out"
        sets[name] = gather(task, name, episodes=TEST_EPISODES, seed=seed, held_out=held_out, inputs=inputs)
    return sets
