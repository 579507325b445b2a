"""Episodes of `robolearn bench rewards`: successes of all kinds, partial runs and failures; some failures held out."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from robolearn.bench._verbs import collect, told_to

OUT = Path("outputs/bench/rewards")
TASKS = ("pick_place", "stack", "drawer_place")
TRAIN_EPISODES, TEST_EPISODES = 600, 120  # about
HELD_OUT = ("slip", "wrong_sequence")  # failures that no training sees
VARIED = ("expert=varied", "linger=15", "env.num_envs=8")
TEST_SEED = 700_000_000  # the sets before these were looked at while estimators were chosen


class Part(NamedTuple):
    """Episodes of one kind.

    Attributes:
        words: options of `robolearn collect`.
        share: of the set's episodes.
    """

    words: tuple[str, ...]
    share: float


def parts(task: str, *, held_out: bool) -> dict[str, Part]:
    """What a set consists of, by name.

    Args:
        task: its name.
        held_out: whether it is the set of failures that no training sees, among as many successes.
    """
    from robolearn.sim.failures import kinds_for
    from robolearn.sim.tasks import make_task

    kinds = kinds_for(make_task(task))
    varied = (*VARIED, "expert.noise=0.2")
    if held_out:
        failing = [kind for kind in kinds if kind in HELD_OUT]
        found = {"varied": Part(varied, 0.4)}
    else:
        failing = [kind for kind in kinds if kind not in HELD_OUT]
        found = {"varied": Part(varied, 0.5), "partial": Part((*varied, "expert.stop=1"), 0.1)}
    return found | {kind: Part((*varied, f"expert.failure={kind}"), 0.4 / len(failing)) for kind in failing}


def gather(task: str, name: str, *, episodes: int, seed: int, held_out: bool = False) -> Path:
    """Collect a set unless it is there, and return its folder.

    Args:
        task: its name.
        name: of the set.
        episodes: about how many.
        seed: of the first episode of the first part; other parts begin a million further on each.
        held_out: see `parts`.
    """
    from robolearn.data.merge import merge
    from robolearn.sim.tasks import make_task

    folder = OUT / "data" / task / f"{name}-{episodes}"
    if (folder / "all").exists():
        return folder / "all"
    folder.mkdir(parents=True, exist_ok=True)
    found = parts(task, held_out=held_out)
    limit = f"task.max_episode_steps={2 * make_task(task).max_episode_steps}"  # slow episodes take longer
    with told_to(folder / "log.txt"):
        for i, (kind, part) in enumerate(found.items()):
            collect(
                (f"task={task}", limit, *part.words),
                num_episodes=max(round(part.share * episodes), 1),
                seed=seed + i * 1_000_000,
                out=folder / kind,
                success_only=False,
            )
        merge([folder / kind for kind in found], folder / "all")
    return folder / "all"


def gather_all(task: str) -> int:
    """Collect a task's sets unless they are there; return the number of their episodes."""
    from robolearn.data.reading import read_info

    folders = [train_set(task), *test_sets(task).values()]
    return sum(read_info(folder)["total_episodes"] for folder in folders)


def train_set(task: str) -> Path:
    """What is learned from."""
    return gather(task, "train", episodes=TRAIN_EPISODES, seed=0)


def test_sets(task: str) -> dict[str, Path]:
    """What is judged by."""
    return {
        name: gather(task, name, episodes=TEST_EPISODES, seed=TEST_SEED + i * 100_000_000, held_out=name == "held_out")
        for i, name in enumerate(("in_distribution", "held_out"))
    }
