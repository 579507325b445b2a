"""Training and asking policies beside LeRobot's: same network, same data, same batch, in turns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from robolearn.bench._turns import Turn, in_turns, rate, ratio
from robolearn.eval.results import Measure

if TYPE_CHECKING:
    from robolearn.data.dataset import EpisodeDataset

SUMMARY = "training steps, samples per second with loading, and chunk latency beside LeRobot's (ten minutes)"
SEEDS = (0,)

EPISODES, STEPS = 20, 80  # of `lift` at 20 Hz
BATCH_SIZE, N_OBS_STEPS, HORIZON, N_ACTION_STEPS = 64, 2, 16, 8
BATCHES = 8  # that the steps without loading go round
WORKERS = 4  # `lerobot-train`'s default
ROUNDS = 7  # the range of 7 covers the median with 98 % probability, whatever the distribution
SECONDS = 3.0  # a side and round at least
CALL_SECONDS, CALLS = 0.5, 15  # a policy and round at least: 7 rounds have over 100 calls for the 99th percentile
Rates = dict[str, list[float]]


def run(progress: Callable[[str], None]) -> list[Measure]:
    """Measure ours and LeRobot in turns, in one process and with one thread of torch.

    - A training step: our diffusion U-Net and LeRobot's `DiffusionPolicy` with the same options, which have the same
      number of parameters, on the same normalised batches of state observations. Ours is our trainer's whole loop with
      AdamW, clipping and moving average; LeRobot's is `lerobot-train`'s own update with the optimiser and schedule of
      its preset.
    - With loading: the same from a dataset's folder. Ours draws from memory; LeRobot's sampler, loader and
      pre-processor are those of `lerobot-train`, without workers and with its default of four, which may use all
      cores.
    - Latency: one observation in, one chunk out, in physical units, batch of one. Our presets in torch and in ONNX
      Runtime, as the control node runs them, beside LeRobot's `DiffusionPolicy` of the same size with as many steps.
      Its default of a hundred steps and its ACT are there too. The weights are random, which changes no speed; only
      the share of a chunk that mixtures execute depends on them.

    Raises:
        RuntimeError: the two networks differ in size.
    """
    from robolearn.commands.common import use_one_thread

    use_one_thread()
    with TemporaryDirectory(prefix="robolearn-bench-") as folder:
        return _run(Path(folder), progress)


def _run(folder: Path, progress: Callable[[str], None]) -> list[Measure]:
    from robolearn.bench import _latency as latency
    from robolearn.bench._datasets import record, write
    from robolearn.data.dataset import EpisodeDataset

    progress(f"simulating {EPISODES} episodes")
    write(folder / "data", record(episodes=EPISODES, steps=STEPS, size=32).without_pictures())
    data = EpisodeDataset.load(folder / "data")
    rates = in_turns(_contenders(data), rounds=ROUNDS, seconds=SECONDS, progress=progress)
    calls = latency.contenders(data, folder, progress)
    times = latency.times_in_turns(calls, rounds=ROUNDS, seconds=CALL_SECONDS, at_least=CALLS, progress=progress)
    return [*_steps(rates), *_loading(rates), *latency.measures(times)]


def _contenders(data: EpisodeDataset) -> dict[str, Turn]:
    from robolearn.bench import _lerobot as lerobot
    from robolearn.bench import _training as enter
    from robolearn.normalize import Normalizer
    from robolearn.policies.diffusion.modeling_diffusion import build
    from robolearn.train.feed import to_tensors

    sizes = {"n_obs_steps": N_OBS_STEPS, "horizon": HORIZON, "n_action_steps": N_ACTION_STEPS}
    ours = build(data.schema, **sizes, **lerobot.UNET)
    built = lerobot.make(lerobot.diffusion_config(data.schema, **sizes), data.root)
    counts = lerobot.count_parameters(ours), lerobot.count_parameters(built.policy)
    if counts[0] != counts[1]:
        raise RuntimeError(f"our network has {counts[0]} parameters, LeRobot's {counts[1]}")
    windows = data.windows(N_OBS_STEPS, HORIZON, normalizer=Normalizer(data.schema, data.statistics))
    draw = windows.shuffled(BATCH_SIZE, seed=SEEDS[0])
    ready = [to_tensors(draw(step)) for step in range(BATCHES)]
    size = len(ready[0]["action"])

    def theirs(workers: int) -> Turn:
        batches = enter.their_batches(built, data.root, batch_size=size, workers=workers)
        return enter.their_training(built, batches, batch_size=size)

    return {
        "step": enter.our_training(ours, lambda step: ready[step % BATCHES], batch_size=size),
        "step lerobot": enter.their_training(built, enter.the_same(ready), batch_size=size),
        "loading": enter.our_training(ours, draw, batch_size=size),
        "loading lerobot": theirs(0),
        "loading lerobot workers": theirs(WORKERS),
    }


def _steps(rates: Rates) -> list[Measure]:
    """Milliseconds of a step of both sides, and what ours takes as a share of LeRobot's."""
    ours, theirs = ([1e3 * BATCH_SIZE / r for r in rates[name]] for name in ("step", "step lerobot"))
    return [
        Measure("step_ms.diffusion", median(ours), "ms", median(theirs), (min(ours), max(ours))),
        ratio("step_time_share.diffusion", ours, theirs),
    ]


def _loading(rates: Rates) -> list[Measure]:
    ours, alone, workers = (rates[f"loading{side}"] for side in ("", " lerobot", " lerobot workers"))
    return [
        rate("samples_per_s.with_loading", ours, alone),
        ratio("speedup.with_loading", ours, alone),
        rate(f"samples_per_s.with_loading.lerobot_{WORKERS}_workers", workers),
        ratio(f"speedup.with_loading.lerobot_{WORKERS}_workers", ours, workers),
    ]
