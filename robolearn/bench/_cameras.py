"""Pictures of `lift` while the arm moves: our ray-cast camera and robosuite's OpenGL one; drawing alone is timed."""

from __future__ import annotations

import os
from itertools import cycle

from robolearn.bench._lift import SEED, environment, panda_worlds, random_actions
from robolearn.bench._robosuite import make_lift, random_step
from robolearn.bench._turns import Turn, turn
from robolearn.errors import UserError
from robolearn.sim.cameras import external_camera
from robolearn.sim.raycast import RayCamera

SIZE = 84  # pixels
NUM_WORLDS = 16


def ray_camera(*, depth: bool = False, segmentation: bool = False) -> Turn:
    """Our external camera on one thread; between two pictures of a world lies a control step of random actions."""
    worlds = panda_worlds(NUM_WORLDS)
    env = environment(worlds)
    env.reset(seed=SEED)
    poses = worlds.geom_poses
    camera = RayCamera(worlds.model, external_camera(worlds.robot), SIZE, SIZE)
    actions = cycle(random_actions(env))

    def draw() -> int:
        return len(camera.render(*poses, depth=depth, segmentation=segmentation).rgb)

    return turn(draw, prepare=lambda: env.step(next(actions)))


def robosuite_camera() -> Turn:
    """Its camera `agentview` with its own settings; between two pictures lies a control step of random actions.

    Mesa, which draws where there is no GPU, is held to one thread.

    Raises:
        UserError: there is no OpenGL here.
    """
    os.environ.setdefault("LP_NUM_THREADS", "0")
    try:
        env = make_lift(camera=True)
        step = random_step(env)
    except ModuleNotFoundError:
        raise
    except Exception as error:  # each GL library fails in its own way, down to missing attributes
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(
            f"robosuite's camera found no OpenGL ({reason}): `apt install libegl1 libopengl0 libgl1-mesa-dri`, "
            "or `apt install libosmesa6` and set MUJOCO_GL=osmesa"
        ) from error

    def draw() -> int:
        env.sim.render(camera_name="agentview", width=SIZE, height=SIZE)
        return 1

    return turn(draw, prepare=step)
