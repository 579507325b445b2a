"""The loop of offline RL: learn from the dataset's episodes, be judged now and then; resumable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from robolearn.acting import Acting
from robolearn.config import OfflineConfig
from robolearn.data.replay import Trajectory
from robolearn.rl.checkpoint import Learned, load_checkpoint, save_checkpoint
from robolearn.rl.experience import Experience
from robolearn.rl.online import Algorithm, Clock, Metrics, completion


class OfflineTrainer:
    """Trains an algorithm on episodes alone; its curve counts updates, and no control steps are taken to learn.

    The newest weights are kept, not those that did best when they were judged: nothing is chosen by simulation.

    Attributes:
        curve: success and figures of each evaluation.
    """

    def __init__(self, algorithm: Algorithm, config: OfflineConfig, *, seed: int, out: Path) -> None:
        """Take networks from `out`, where there are any."""
        self.algorithm, self.config, self.out = algorithm, config, out
        self.learned = Learned()
        self.curve: list[Metrics] = load_checkpoint(algorithm, self.learned, out) or []
        # a resumed run draws other batches than those that it has seen
        self.experience = Experience(
            capacity=1,
            demo_ratio=1.0,
            gamma=config.gamma,
            seed=(seed, self.clock.updates),
            complete=completion(algorithm),
        )

    @property
    def clock(self) -> Clock:
        """How far the training is."""
        return self.algorithm.clock

    def run(
        self,
        episodes: Sequence[Trajectory],
        *,
        evaluate: Callable[[Acting], float],
        on_progress: Callable[[int], None] | None = None,
    ) -> list[Metrics]:
        """Learn for the updates of the configuration; return the curve.

        Args:
            episodes: good and bad ones.
            evaluate: success rate of who acts.
            on_progress: called after each update with their number.
        """
        self.experience.show(episodes)
        self.learned.start_clock()
        if not self.curve:
            self._record(evaluate(self.algorithm.acting(None)), {})
        while self.clock.updates < self.config.updates:
            self.clock.updates += 1
            metrics = self.algorithm.update(self.experience)
            if self.clock.updates % self.config.eval_every == 0 or self.clock.updates == self.config.updates:
                success = evaluate(self.algorithm.acting(None))
                self._record(success, {key: float(value) for key, value in metrics.items()})
            if on_progress is not None:
                on_progress(self.clock.updates)
        return self.curve

    def _record(self, success: float, metrics: Metrics) -> None:
        point = {"updates": float(self.clock.updates), "steps": 0.0, "success": success}
        self.curve.append({**point, **self.learned.read_clock(), **metrics})
        save_checkpoint(self.algorithm, self.learned, self.curve, self.out)
