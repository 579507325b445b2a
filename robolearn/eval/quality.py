"""How good demonstrations are: how many attempts they took, how long and how smooth they are."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.data.dataset import EpisodeDataset
from robolearn.eval.metrics import SuccessRate


@dataclass(frozen=True)
class Quality:
    """Of the demonstrations in a dataset.

    Attributes:
        success: successes out of all attempts, those that were not kept included.
        episodes: demonstrations kept.
        mean_length: control steps of one.
        joint_jerk: mean squared jerk of an arm joint, rad^2/s^6; None where every episode is too short for it, or where
            nothing names the joints and the tool.
        tool_jerk: mean squared jerk of the point between the fingertips, m^2/s^6; likewise.
        instructions: kept episodes by what was asked for.
        failures: kept episodes by the failure that was provoked, and how many of them succeeded all the same.
    """

    success: SuccessRate
    episodes: int
    mean_length: float
    joint_jerk: float | None
    tool_jerk: float | None
    instructions: dict[str, int]
    failures: dict[str, SuccessRate]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data; the interval of the success rate is Wilson's of 95 %."""
        numbers = asdict(self)
        del numbers["success"]
        return {
            "attempts": self.success.episodes,
            "successes": self.success.successes,
            "success_rate": self.success.rate,
            "success_interval": list(self.success.interval),
            **numbers,
        }

    def __str__(self) -> str:
        lines = [f"success {self.success}, {self.mean_length:.1f} control steps on average"]
        if self.joint_jerk is not None and self.tool_jerk is not None:
            lines += [f"mean squared jerk: joints {self.joint_jerk:.3g} rad^2/s^6, tool {self.tool_jerk:.3g} m^2/s^6"]
        lines += [f"{count:6d}  {text}" for text, count in self.instructions.items()]
        lines += [f"{rate.episodes:6d}  {kind}, {rate.successes} succeeded" for kind, rate in self.failures.items()]
        return "\n".join(lines)


def demonstration_quality(data: EpisodeDataset, *, attempts: int) -> Quality:
    """Quality of what `robolearn collect` kept out of `attempts` attempts; attempts not kept count as failures."""
    joints, tool = _jerks(data)
    outcomes: dict[str, list[bool]] = {}
    for kind, success in zip(data.columns["failure"], data.columns["success"], strict=True):
        outcomes.setdefault(kind, []).append(success)
    outcomes.pop("", None)
    return Quality(
        success=SuccessRate(sum(data.columns["success"]), attempts),
        episodes=data.num_episodes,
        mean_length=data.num_frames / data.num_episodes,
        joint_jerk=None if joints is None else float(joints.mean()),
        tool_jerk=None if tool is None else float(tool.sum()),
        instructions=dict(sorted(Counter(data.tasks).items())),
        failures={kind: SuccessRate.of(values) for kind, values in sorted(outcomes.items())},
    )


def _jerks(data: EpisodeDataset) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
    """Mean squared jerk of each joint and of the tool's coordinates."""
    names = data.schema["observation.state"].names
    if not {"gripper_width", "tool_x"} <= set(names):
        return None, None
    arm, at = slice(0, names.index("gripper_width")), names.index("tool_x")
    states = [data.episode(k)["observation.state"].astype(np.float64) for k in range(data.num_episodes)]
    joints = mean_squared_jerk([state[:, arm] for state in states], fps=data.schema.fps)
    return joints, mean_squared_jerk([state[:, at : at + 3] for state in states], fps=data.schema.fps)


def mean_squared_jerk(paths: list[NDArray[np.float64]], *, fps: float) -> NDArray[np.float64] | None:
    """Squared jerk of each coordinate, averaged over the time of all paths; less is smoother.

    Jerk is the third difference x_{t+3} - 3 x_{t+2} + 3 x_{t+1} - x_t over dt^3 (Flash and Hogan, "The coordination of
    arm movements", 1985, take its integral as the measure of smoothness).

    Args:
        paths: positions [T, n] of each path, evenly spaced in time.
        fps: 1 / dt in Hz.

    Returns:
        [n] in (unit of x)^2/s^6; None when no path has the four points that it takes.
    """
    jerks = [np.diff(path, n=3, axis=0) * fps**3 for path in paths if len(path) > 3]
    return np.square(np.concatenate(jerks)).mean(axis=0) if jerks else None
