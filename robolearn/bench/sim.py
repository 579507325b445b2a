"""Speed of the simulator beside robosuite's and beside bare physics: same task, same arm, same machine, in turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from robolearn.bench._turns import Turn, in_turns, rate, ratio
from robolearn.eval.results import Measure

SUMMARY = "control steps and camera images per second of `lift` beside robosuite's and bare `mj_step` (five minutes)"
SEEDS = (0,)

WORLDS: Sequence[int] = (1, 16, 64, 256)
MANY, THREADS = 64, 2  # the batch that also runs on more threads, with a finer step, and with robosuite's model
FINE = 0.002  # s: robosuite's physics step
ROUNDS = 7  # the range of 7 covers the median with 98 % probability, whatever the distribution
SECONDS = 1.5  # a side and round at least; whole episodes are run
Rates = dict[str, list[float]]


def run(progress: Callable[[str], None]) -> list[Measure]:
    """Measure ours, bare physics and robosuite in turns; on one thread each unless the name says otherwise.

    A control step advances a world by 1/20 s. Everybody takes uniformly random actions in its own action space and
    restarts after 80 steps.

    - Ours and robosuite compute state observations and a dense reward at every step. robosuite is set to its fastest:
      no renderer, soft resets. It has one world per process.
    - The limit of a scene is bare `mj_step` on the very episodes that ours runs: see `_lift.physics`.
    - Ours on robosuite's model: our environment on the model that robosuite compiled, at its step of 2 ms. What differs
      is how an action becomes torque: robosuite computes it in Python at every physics step; ours plans once per
      control step, and servos in the model follow. See `_robosuite.RobosuiteWorlds`.
    - Cameras: drawing alone counts, see `_cameras`. Each draws its own scene, ours of primitive shapes, robosuite's of
      meshes with shadows. Where there is a GPU, robosuite's camera uses it.

    Raises:
        UserError: there is no OpenGL here for robosuite's camera.
    """
    rates = in_turns(_contenders(), rounds=ROUNDS, seconds=SECONDS, progress=progress)
    return [*_speeds(rates), *_robosuite_model(rates), *_images(rates)]


def _contenders() -> dict[str, Turn]:
    from robolearn.bench import _contenders as enter

    turns = enter.robosuite()
    for n in WORLDS:
        turns |= enter.pair(_worlds(n), num_worlds=n)
    turns |= enter.pair(_threaded(), num_worlds=MANY, threads=THREADS)
    turns |= enter.pair(_fine(), num_worlds=MANY, timestep=FINE)
    return turns | enter.robosuite_model(MANY) | enter.ray_cameras()


def _worlds(n: int) -> str:
    return f"{n}_worlds"


def _threaded() -> str:
    return f"{_worlds(MANY)}.{THREADS}_threads"


def _fine() -> str:
    return f"{_worlds(MANY)}.2ms"


def _speeds(rates: Rates) -> list[Measure]:
    """Ours on its own scene; two threads have no baseline, as robosuite has one."""
    single = [*map(_worlds, WORLDS), _fine()]
    theirs = rates["robosuite"]
    return [
        *(rate(f"control_steps_per_s.lift.{name}", rates[name], theirs) for name in single),
        rate(f"control_steps_per_s.lift.{_threaded()}", rates[_threaded()]),
        *(ratio(f"speedup_per_core.lift.{name}", rates[name], theirs) for name in single),
        *(
            ratio(f"share_of_physics_limit.lift.{name}", rates[name], rates[f"{name} limit"])
            for name in (*single, _threaded())
        ),
    ]


def _robosuite_model(rates: Rates) -> list[Measure]:
    ours, theirs, limit = rates["robosuite_model"], rates["robosuite"], rates["robosuite_model limit"]
    return [
        rate("control_steps_per_s.robosuite_model", ours, theirs),
        ratio("speedup_per_core.robosuite_model", ours, theirs),
        ratio("share_of_physics_limit.robosuite_model", ours, limit),
    ]


def _images(rates: Rates) -> list[Measure]:
    theirs = rates["robosuite camera"]
    return [
        rate("images_per_s.rgb", rates["rgb"], theirs),
        ratio("speedup_per_core.rgb", rates["rgb"], theirs),
        rate("images_per_s.rgb_depth_segmentation", rates["rgbd"]),
    ]
