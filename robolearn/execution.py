"""How chunks are executed when inference takes time: the options, in one place.

Without NumPy, for `robolearn.real.ros2.policy_controller` imports it before the environment is set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from robolearn.errors import UserError, nearest
from robolearn.ranges import limited, require_ranges

SEQUENTIAL, RTC, ENSEMBLING, BLENDING = "sequential", "rtc", "ensembling", "blending"
MODES = (SEQUENTIAL, RTC, ENSEMBLING, BLENDING)


@dataclass(kw_only=True)
class Execution:
    """Options of the inference process; those of the node and of `robolearn deploy` are made of these.

    - sequential: a chunk is inferred when the executed part of the one before is used up.
    - rtc: real-time chunking (see `robolearn.inpainting`): inferred ahead, it goes on where the old one will be.
    - ensembling: temporal ensembling (Zhao et al. 2023, ACT): one chunk per control step, as fast as inference allows;
      actions for the same step are averaged with weights exp(-m i), i = 0 for the oldest.
    - blending: inferred ahead like rtc; at its begin the old chunk fades into the new one.

    Raises:
        UserError: a value is out of range.
    """

    execution: str = limited(SEQUENTIAL, "how chunks follow each other: sequential, rtc, ensembling or blending")
    execution_horizon: int = limited(
        0, "rtc, blending: control steps from one chunk to the next; 0: half of the policy's n_action_steps", low=0
    )
    guidance_weight: float = limited(
        5.0, "rtc: largest weight that draws a chunk towards the one before", low=1e-6, high=1e6
    )
    delay_buffer: int = limited(10, "rtc: last inferences whose longest is the delay that is expected", low=1)
    ensembling_decay: float = limited(
        0.01, "ensembling: m in the weights exp(-m i), i = 0 for the oldest chunk", low=0, high=1e6
    )
    blending_steps: int = limited(4, "blending: control steps in which the old chunk fades", low=1)
    inference_delay: float = limited(0.0, "s added to each inference, for tests and benchmarks", low=0, high=60)

    def __post_init__(self) -> None:
        if self.execution not in MODES:
            raise UserError(f"execution '{self.execution}' is unknown{nearest(self.execution, MODES)}")
        require_ranges(self)


def from_options(options: Mapping[str, Any]) -> Execution:
    """Read what `OPTIONS` say; other names are left aside.

    Raises:
        UserError: a value is out of range.
    """
    return Execution(**{name: options[name] for name in OPTIONS})


# default and meaning, as options of a command line and parameters of the node
OPTIONS: dict[str, tuple[str | float, str]] = {
    name: (getattr(Execution, name), option.metadata["help"]) for name, option in Execution.__dataclass_fields__.items()
}
