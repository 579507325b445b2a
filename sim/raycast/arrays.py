"""What the camera's compiled loops are given; each field is an array of one type, so that they compile once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
U8 = NDArray[np.uint8]


class Shapes(NamedTuple):
    """The geoms; sizes have one row per world, or one row for all of them.

    Attributes:
        kind: mjtGeom, or `HIDDEN` [ngeom].
        size: MuJoCo's sizes [1 or n, ngeom, 3].
        spread: half sizes of a box in the geom's frame [1 or n, ngeom, 3]; see `roundness`.
        roundness: semi-axes of an ellipsoid [1 or n, ngeom, 3]. The geom is the convex hull of such ellipsoids at the
            corners of that box.
    """

    kind: I32
    size: F32
    spread: F64
    roundness: F64


class View(NamedTuple):
    """The camera in each world.

    Attributes:
        eye: position [n, 3].
        axes: its axes right, up and back as columns [n, 3, 3].
        pitch: width of a pixel on the picture plane one metre ahead.
    """

    eye: F64
    axes: F64
    pitch: float


class Paint(NamedTuple):
    """Colours and light in [0, 1]; arrays have one row per world, or one row for all of them.

    Attributes:
        rgba: colours of the geoms [1 or n, ngeom, 4]; alpha 0 is invisible, everything else opaque.
        towards: unit vector towards the lamp in the world [1 or n, 3].
        lamp: the lamp's colour times its strength [1 or n, 3].
        ambient: colour times strength of the light from everywhere [1 or n, 3].
        background: colour where nothing is seen [1 or n, 3].
        shadows: whether the lamp casts hard shadows.
    """

    rgba: F32
    towards: F64
    lamp: F64
    ambient: F64
    background: F64
    shadows: bool


class Sight(NamedTuple):
    """One geom of one world, as the camera sees it.

    Attributes:
        geom: its id.
        kind: mjtGeom.
        size: MuJoCo's sizes [3].
        depth: of its centre, in m.
        rays: [6, 3], in the geom's frame. The pixel at (x, y) looks along `rays[3] + x rays[4] + y rays[5]` and passes,
            at the depth of the geom's centre, through `rays[0] + x rays[1] + y rays[2]`. Counting from there keeps far
            and small geoms exact in 32 bits.
        lamp: unit vector to the lamp in the geom's frame, three 32-bit numbers.
    """

    geom: int
    kind: int
    size: F32
    depth: float
    rays: F64
    lamp: tuple[np.float32, np.float32, np.float32]


class Work(NamedTuple):
    """Arrays of one picture whose rows hold a multiple of `LANES` pixels, and of one row.

    Attributes:
        depth: m [height, padded].
        cosine: between surface and lamp [height, padded].
        geom: geom id, or the number of geoms where there is none [height, padded].
        xs: x of the pixels on the picture plane [padded].
        moved: how far along the line of sight a ray starts [padded].
        along: ray parameter at which the geom is met [padded].
        facing: cosine between its surface there and the lamp [padded].
    """

    depth: F32
    cosine: F32
    geom: I32
    xs: F32
    moved: F32
    along: F32
    facing: F32
