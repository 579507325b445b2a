"""How a simulated arm differs from a perfect one, as options: for the command line and the arm alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robolearn.ranges import limited, require_ranges


@dataclass(kw_only=True)
class Imperfections:
    """A perfect arm by default; each field's metadata say what it is and its range.

    A message's stamp stays that of the measurement, however late it comes; messages keep their order. Errors of zeros
    are drawn evenly, once for the arm.
    """

    latency: float = limited(0.0, "s from a measurement to its message", low=0, high=10)
    command_latency: float = limited(0.0, "s from the arrival of a command until it is obeyed", low=0, high=10)
    jitter: float = limited(0.0, "largest further delay of each message in s", low=0, high=10)
    noise: float = limited(0.0, "standard deviation of joint positions in rad", low=0, high=1)
    pose_noise: float = limited(0.0, "standard deviation of objects' positions in m", low=0, high=1)
    loss: float = limited(0.0, "share of messages that are lost, each way", low=0, high=1)
    encoder_offset: float = limited(0.0, "largest error of each joint's zero in rad", low=0, high=1)
    gain: float = limited(1.0, "factor on stiffness and damping of the arm's servos", low=0.001, high=1000)
    gravity: float = limited(0.0, "share of its weight that the arm does not carry by itself", low=0, high=1)
    command_timeout: float = limited(
        0.1, "s without a command after which the arm says that it holds", low=0.001, high=1000
    )
    seed: int = limited(0, "of what is drawn", low=0)

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            UserError: a value is out of its range.
        """
        require_ranges(self)

    def offsets(self, n_joints: int) -> NDArray[np.float64]:
        """Errors of the joints' zeros [n_joints] in rad."""
        rng = np.random.default_rng((self.seed, 1))
        return rng.uniform(-self.encoder_offset, self.encoder_offset, n_joints)
