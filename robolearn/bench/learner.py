"""Time of an update of online RL beside that of LeRobot's soft actor-critic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from statistics import median

from robolearn.bench._turns import Turn, in_turns, ratio, turn
from robolearn.eval.results import Measure

SUMMARY = "time of an update of `residual` and `rlpd` beside LeRobot's SAC, networks of the same size (three minutes)"
SEEDS = (0,)

CRITICS: Sequence[int] = (2, 4, 10)
HIDDEN, BATCH = 256, 256
# how ours are run: critic updates per actor update, and `torch.set_float32_matmul_precision`
KINDS = {"": (1, "highest"), ".schedule": (2, "highest"), ".schedule.bfloat16": (2, "medium")}
ALGORITHMS = ("residual", "rlpd")
ROUNDS = 7  # the range of 7 covers the median with 98 % probability, whatever the distribution
SECONDS = 1.0  # a side and round at least
Rates = dict[str, list[float]]


def run(progress: Callable[[str], None]) -> list[Measure]:
    """Measure updates of ours and LeRobot's in turns, in one process and with one thread of torch.

    An update is one step of all critics and one of the actor, with drawing from replay and demonstrations, targets,
    gradient clipping and optimisers; random data in the sizes of Meta-World's. All sides have critics and an actor of
    two hidden layers of 256 units with layer norm and SiLU, and batches of 256, half of them demonstrations. Besides,
    our learners with the schedule that they are set to, an actor step for every second step of the critics, and with
    products of hidden layers in bfloat16, which the processor must know for it to help.

    Raises:
        RuntimeError: the critics of both sides differ in size.
    """
    from robolearn.commands.common import use_one_thread

    use_one_thread()
    rates = in_turns(_contenders(), rounds=ROUNDS, seconds=SECONDS, progress=progress)
    return [measure for critics in CRITICS for measure in _measures(critics, rates)]


def _contenders() -> dict[str, Turn]:
    from torch import set_float32_matmul_precision

    from robolearn.bench import _learners as enter

    turns: dict[str, Turn] = {}
    for critics in CRITICS:
        size = enter.Size(critics, HIDDEN, BATCH)
        theirs, update = enter.lerobot(size, seed=SEEDS[0])
        turns[_name("lerobot", critics)] = turn(update, prepare=partial(set_float32_matmul_precision, "highest"))
        for algo in ALGORITHMS:
            for kind, (every, precision) in KINDS.items():
                learner, update = enter.ours(algo, size, actor_every=every, seed=SEEDS[0])
                sizes = enter.critic_weights(learner), enter.critic_weights(theirs)
                if sizes[0] != sizes[1]:
                    raise RuntimeError(f"our critics have {sizes[0]} weights, LeRobot's {sizes[1]}")
                prepare = partial(set_float32_matmul_precision, precision)
                turns[_name(algo + kind, critics)] = turn(update, prepare=prepare)
    return turns


def _name(side: str, critics: int) -> str:
    return f"{side}.critics_{critics}"


def _measures(critics: int, rates: Rates) -> list[Measure]:
    """Milliseconds of an update, and what ours takes as a share of LeRobot's."""
    theirs = rates[_name("lerobot", critics)]
    found = []
    for side in (algo + kind for algo in ALGORITHMS for kind in KINDS):
        name = _name(side, critics)
        times = [1e3 / rate for rate in rates[name]]
        found += [
            Measure(
                f"update_ms.{name}", median(times), "ms", median(1e3 / r for r in theirs), (min(times), max(times))
            ),
            ratio(f"update_time_share.{name}", theirs, rates[name]),
        ]
    return found
