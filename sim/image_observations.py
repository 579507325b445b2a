"""Camera pictures as observation channels, drawn by the ray-cast camera.

Of a camera `wrist` there are `observation.images.wrist` and, if wanted, `observation.depth.wrist` and
`observation.segmentation.wrist`. The latter two are no pictures to LeRobot, which scales and encodes what it takes for
one: their dtype is a number's, and their names lack the word image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import mujoco
import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.robot import RobotSpec
from robolearn.schema import Feature
from robolearn.sim.cameras import cameras_of, find_camera
from robolearn.sim.raycast import Images, RayCamera

Ids = NDArray[np.intp]
Look = Callable[[Ids | slice], Mapping[str, Any]]
AXES = ("height", "width", "channels")


@runtime_checkable
class VisibleWorlds(Protocol):
    """Worlds that can be drawn.

    Attributes:
        model: the scene as MuJoCo draws it.
        robot: the arm.
    """

    model: mujoco.MjModel
    robot: RobotSpec

    @property
    def geom_poses(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Present positions [num_worlds, ngeom, 3] in m and orientations [num_worlds, ngeom, 9] of all geoms."""

    def read_model(self, name: str) -> NDArray[np.floating] | None:
        """Values [num_worlds, ...] of a field of the model; None where all worlds have the model's own."""


def _rgb(images: Images) -> NDArray[np.uint8]:
    return images.rgb


def _metres(images: Images) -> NDArray[np.float32]:
    assert images.depth is not None
    return np.where(np.isfinite(images.depth), images.depth, np.float32(0))[..., None]


def _geoms(images: Images) -> NDArray[np.int32]:
    assert images.segmentation is not None
    return images.segmentation[..., None]


class Kind(NamedTuple):
    """A kind of channel: what a pixel holds, and how it is taken from the camera's images."""

    dtype: str
    channels: int
    unit: str
    read: Callable[[Images], NDArray[Any]]

    def feature(self, size: int) -> Feature:
        """The channel of a picture of `size` x `size` pixels."""
        return Feature(self.dtype, (size, size, self.channels), AXES, (self.unit,) * 3, "observation")


KINDS = {
    "images": Kind("image", 3, "1", _rgb),
    "depth": Kind("float32", 1, "m", _metres),
    "segmentation": Kind("int32", 1, "1", _geoms),
}


class ImageObservations:
    """Draws the channels of some cameras for all worlds.

    Attributes:
        features: the channels, in the order in which `draw` gives them.
    """

    def __init__(
        self,
        worlds: object,
        cameras: Sequence[str],
        *,
        size: int = 84,
        depth: bool = False,
        segmentation: bool = False,
        threads: int = 1,
    ) -> None:
        """Set up the cameras.

        Args:
            worlds: what is seen.
            cameras: their names; see `robolearn.sim.cameras.cameras_of`.
            size: width and height of the pictures in pixels.
            depth: whether there are depth channels: distance along the optical axis in m, 0 where nothing is seen.
            segmentation: whether there are segmentation channels: ids of the model's geoms, -1 where nothing is seen.
            threads: CPU threads over which worlds are spread.

        Raises:
            UserError: worlds that cannot be drawn, an unknown camera or one named twice, or a size below 1.
        """
        if not isinstance(worlds, VisibleWorlds):
            raise UserError(f"cameras cannot see {type(worlds).__name__}: use the mujoco backend, or no cameras")
        if twice := [name for name in cameras if list(cameras).count(name) > 1]:
            raise UserError(f"camera '{twice[0]}' is given twice: name each camera once")
        known = cameras_of(worlds.model, worlds.robot)
        self._worlds, self._depth, self._segmentation = worlds, depth, segmentation
        self._cameras = {
            name: RayCamera(worlds.model, find_camera(known, name), size, size, threads=threads) for name in cameras
        }
        wanted = {"images": True, "depth": depth, "segmentation": segmentation}
        self._kinds = {name: kind for name, kind in KINDS.items() if wanted[name]}
        self.features = {
            f"observation.{name}.{camera}": kind.feature(size)
            for name, kind in self._kinds.items()
            for camera in cameras
        }
        self._last: dict[str, NDArray[Any]] = {}

    def draw(self, look: Look | None = None, *, changed: Ids | None = None) -> dict[str, NDArray[Any]]:
        """Draw what the cameras see now, [num_worlds, *shape] by channel.

        Args:
            look: gives further arguments of `RayCamera.render` for some worlds, e.g. `Randomizer.look`.
            changed: the only worlds that have changed since the last call; None draws all anew.
        """
        if changed is None:
            self._last = self._draw(slice(None), look)
        else:
            fresh = self._draw(changed, look)
            self._last = {key: values.copy() for key, values in self._last.items()}
            for key, values in fresh.items():
                self._last[key][changed] = values
        return self._last

    def _draw(self, ids: Ids | slice, look: Look | None) -> dict[str, NDArray[Any]]:
        xpos, xmat = (poses[ids] for poses in self._worlds.geom_poses)
        own = {name: self._worlds.read_model(f"geom_{name}") for name in ("rgba", "size")}
        options: dict[str, Any] = {name: values[ids] for name, values in own.items() if values is not None}
        options |= {} if look is None else look(ids)
        seen = {
            name: camera.render(xpos, xmat, depth=self._depth, segmentation=self._segmentation, **options)
            for name, camera in self._cameras.items()
        }
        views = [kind.read(images) for kind in self._kinds.values() for images in seen.values()]
        return dict(zip(self.features, views, strict=True))

    def close(self) -> None:
        """End the threads."""
        for camera in self._cameras.values():
            camera.close()
