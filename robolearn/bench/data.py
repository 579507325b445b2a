"""Reading and writing datasets beside LeRobot: same files, same samples, same machine, in turns."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from robolearn.bench._turns import Turn, in_turns, rate, ratio
from robolearn.eval.results import Measure

SUMMARY = "batches, decoded pictures and written frames per second beside LeRobot's (five minutes)"
SEEDS = (0,)

EPISODES, STEPS = 20, 80  # of `lift` at 20 Hz
SIZE = 84  # pixels of each of two cameras
BATCH_SIZE, N_OBS_STEPS, HORIZON = 64, 2, 16
CONSECUTIVE = 16  # samples that LeRobot reads at a time where none is shuffled
ROUNDS = 7  # the range of 7 covers the median with 98 % probability, whatever the distribution
SECONDS = 1.0  # a side and round at least; whole batches and episodes are handled
STORAGES = {"video": True, "png": False}
Rates = dict[str, list[float]]


def run(progress: Callable[[str], None]) -> list[Measure]:
    """Measure ours and LeRobot in turns, each in one process and with one thread of torch.

    - Reading: shuffled batches of windows, from a dataset that our writer wrote, as torch tensors. LeRobot's come from
      torch's DataLoader without worker processes over a LeRobotDataset opened as `lerobot-train` opens it. Ours come
      from memory, pictures from the mapped cache. Pictures are uint8 on both sides, but for LeRobot's from PNG, which
      are float32.
    - Decoding: every picture once, in order. Ours is loading for the first time, which fills the cache, with all that
      loading includes; opening is loading again.
    - Writing: episodes are appended to a growing dataset. LeRobot has its defaults, with videos also our encoder's
      settings and its streaming, its fastest way.

    The decoder of videos on LeRobot's side is its own choice: torchcodec where that can be loaded, else PyAV.
    """
    from robolearn.commands.common import use_one_thread

    use_one_thread()
    with TemporaryDirectory(prefix="robolearn-bench-") as folder, ExitStack() as stack:
        turns = _contenders(Path(folder), stack, progress)
        rates = in_turns(turns, rounds=ROUNDS, seconds=SECONDS, progress=progress)
    return [*_reading(rates), *_decoding(rates), *_writing(rates)]


def _contenders(folder: Path, stack: ExitStack, progress: Callable[[str], None]) -> dict[str, Turn]:
    from robolearn.bench import _datasets as sets

    progress(f"simulating {EPISODES} episodes")
    recording = sets.record(episodes=EPISODES, steps=STEPS, size=SIZE)
    low = recording.without_pictures()
    sampling = sets.Sampling(BATCH_SIZE, N_OBS_STEPS, HORIZON)
    sets.write(folder / "state", low)
    turns = {
        "reading.state": sets.our_batches(folder / "state", sampling),
        "reading.state lerobot": sets.their_batches(folder / "state", low.schema, sampling),
        "writing.state": sets.our_writing(folder / "ours.state", low),
        "writing.state lerobot": sets.their_writing(folder / "theirs.state", low, stack),
    }
    for name, video in STORAGES.items():
        root, cache = folder / name, folder / f"cache.{name}"
        sets.write(root, recording, video=video)
        turns |= {
            f"reading.{name}": sets.our_batches(root, sampling, cache),
            f"reading.{name} lerobot": sets.their_batches(root, recording.schema, sampling),
            f"decoding.{name}": sets.our_decoding(root, folder / f"new.{name}"),
            f"decoding.{name} lerobot": sets.their_decoding(root, samples=CONSECUTIVE),
            f"opening.{name}": sets.our_opening(root, cache),
            f"writing.{name}": sets.our_writing(folder / f"ours.{name}", recording, video=video),
            f"writing.{name} lerobot": sets.their_writing(folder / f"theirs.{name}", recording, stack, video=video),
        }
    streamed = sets.their_writing(folder / "theirs.streamed", recording, stack, like_ours=True)
    return turns | {"writing.video lerobot like ours": streamed}


def _reading(rates: Rates) -> list[Measure]:
    return [m for name in ("state", *STORAGES) for m in _pair(rates, f"reading.{name}", "batches")]


def _decoding(rates: Rates) -> list[Measure]:
    return [m for name in STORAGES for m in (*_pair(rates, f"decoding.{name}", "pictures"), _opening(rates, name))]


def _writing(rates: Rates) -> list[Measure]:
    alike = ratio(
        "speedup.writing.video.same_encoder", rates["writing.video"], rates["writing.video lerobot like ours"]
    )
    return [m for name in ("state", *STORAGES) for m in _pair(rates, f"writing.{name}", "frames")] + [alike]


def _pair(rates: Rates, name: str, what: str) -> list[Measure]:
    ours, theirs = rates[name], rates[f"{name} lerobot"]
    return [rate(f"{what}_per_s.{name}", ours, theirs), ratio(f"speedup.{name}", ours, theirs)]


def _opening(rates: Rates, storage: str) -> Measure:
    seconds = [1 / r for r in rates[f"opening.{storage}"]]
    return Measure(f"seconds_to_open.{storage}", median(seconds), "s", None, (min(seconds), max(seconds)))
