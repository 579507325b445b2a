"""Run Gymnasium-Robotics 1.4 on MuJoCo 4.0."""

from __future__ import annotations

import io
import types
from contextlib import redirect_stderr

import mujoco


def load_gymnasium_robotics() -> types.ModuleType:
    """Import Gymnasium-Robotics, patched.

    Raises:
        ModuleNotFoundError: Gymnasium-Robotics is not installed.
    """
    with redirect_stderr(io.StringIO()):  # it prints a note on tasks that few will ask for
        import gymnasium_robotics
    from gymnasium_robotics.utils import mujoco_utils

    # a numpy integer no longer equals an enum when it stands on the right of a comparison, as in `x in (enum,)`
    joints = types.SimpleNamespace(**{name: int(kind) for name, kind in mujoco.mjtJoint.__members__.items()})
    mujoco_utils.mujoco = types.SimpleNamespace(**{**vars(mujoco), "mjtJoint": joints})
    return gymnasium_robotics
