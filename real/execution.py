"""How chunks are executed when inference takes time: the options, in one place.

Light, for `robolearn.real.ros2.policy_controller` imports it before the environment is set.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from robolearn.errors import UserError, nearest

SEQUENTIAL, RTC, ENSEMBLING, BLENDING = "sequential", "rtc", "ensembling", "blending"
MODES = (SEQUENTIAL, RTC, ENSEMBLING, BLENDING)


def _option(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True, kw_only=True)
class Execution:
    """Options of the inference process; those of the node and of `robolearn deploy` have the same names.

    - sequential: a chunk is inferred when the executed part of the one before is used up.
    - rtc: real-time chunking (see `robolearn.inpainting`): inferred ahead, it goes on where the old one will be.
    - ensembling: temporal ensembling (Zhao et al. 2023, ACT): one chunk per control step, as fast as inference allows;
      actions for the same step are averaged with weights exp(-m i), i = 0 for the oldest.
    - blending: inferred ahead like rtc; at its begin the old chunk fades into the new one.

    Raises:
        UserError: a value is out of range.
    """

    execution: str = _option(SEQUENTIAL, "how chunks follow each other: sequential, rtc, ensembling or blending")
    execution_horizon: int = _option(
        0, "rtc, blending: control steps from one chunk to the next; 0: n_action_steps of the policy"
    )
    guidance_weight: float = _option(5.0, "rtc: largest weight that draws a chunk towards the one before")
    delay_buffer: int = _option(10, "rtc: last inferences whose longest is the delay that is expected")
    ensembling_decay: float = _option(0.01, "ensembling: m in the weights exp(-m i), i = 0 for the oldest chunk")
    blending_steps: int = _option(4, "blending: control steps in which the old chunk fades")
    inference_delay: float = _option(0.0, "s added to each inference, for tests and benchmarks")

    def __post_init__(self) -> None:
        if self.execution not in MODES:
            raise UserError(f"execution '{self.execution}' is unknown{nearest(self.execution, MODES)}")
        for name in ("execution_horizon", "ensembling_decay", "inference_delay"):
            self._require(name, lowest=0.0)
        for name in ("delay_buffer", "blending_steps"):
            self._require(name, lowest=1.0)
        if not (self.guidance_weight > 0 and isfinite(self.guidance_weight)):
            raise UserError(f"guidance_weight must be positive and finite, not {self.guidance_weight}")

    def _require(self, name: str, *, lowest: float) -> None:
        value = getattr(self, name)
        if not (value >= lowest and isfinite(value)):
            raise UserError(f"{name} must be at least {lowest:g} and finite, not {value}")


# default and meaning, as options of the node
OPTIONS: dict[str, tuple[str | float, str]] = {
    name: (getattr(Execution, name), option.metadata["help"]) for name, option in Execution.__dataclass_fields__.items()
}
