"""RGB pictures from cameras' bytes, and their resizing: datasets, importers and robots share both.

Needs NumPy and Pillow alone.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from robolearn.errors import UserError

Shape = tuple[int, ...]

# channels per pixel, and where red, green and blue are among them
ENCODINGS: dict[str, tuple[int, slice | tuple[int, ...]]] = {
    "rgb8": (3, slice(0, 3)),
    "bgr8": (3, slice(2, None, -1)),
    "rgba8": (4, slice(0, 3)),
    "bgra8": (4, slice(2, None, -1)),
    "8UC3": (3, slice(2, None, -1)),
    "mono8": (1, (0, 0, 0)),
    "8UC1": (1, (0, 0, 0)),
}


def decode_raw(data: Any, *, encoding: str, height: int, width: int, step: int) -> NDArray[np.uint8]:
    """Return the bytes of a sensor_msgs/Image as RGB [height, width, 3], as a view where that is possible.

    Args:
        data: anything with bytes.
        encoding: one of `ENCODINGS`, which are all of 8 bits.
        height: rows.
        width: pixels of a row.
        step: bytes of a row, padding included.

    Raises:
        UserError: another encoding, e.g. depth, or too few bytes.
    """
    if encoding not in ENCODINGS:
        raise UserError(f"pictures of encoding '{encoding}' cannot be read; those that can: {', '.join(ENCODINGS)}")
    channels, order = ENCODINGS[encoding]
    rows = np.frombuffer(memoryview(data), np.uint8)
    if rows.size < height * step or step < width * channels:
        raise UserError(f"a picture of {width} x {height} pixels has {rows.size} bytes only: it is damaged")
    pixels = rows[: height * step].reshape(height, step)[:, : width * channels].reshape(height, width, channels)
    return pixels[..., order]


def decode_compressed(data: Any, *, what: str) -> NDArray[np.uint8]:
    """Return a JPEG, PNG or other compressed picture as RGB [height, width, 3].

    Raises:
        UserError: it cannot be decoded; the message begins with `what`.
    """
    try:
        with Image.open(io.BytesIO(memoryview(data))) as image:
            return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError) as error:  # Pillow's PNG reader has the last
        raise UserError(f"{what} cannot be decoded: {error}") from error


def fit(picture: NDArray[Any], shape: Shape) -> NDArray[Any]:
    """Resize a picture [height, width, channels].

    RGB is averaged over the area that a new pixel covers and interpolated linearly where it grows (Pillow's BILINEAR).
    Other channels take the nearest pixel: the mean of two depths or ids is neither.
    """
    if picture.shape == shape:
        return picture
    height, width = shape[:2]
    if picture.dtype == np.uint8 and picture.shape[-1] == 3:
        if picture.strides[-1] < 0:  # of a BGR camera: Pillow would copy it byte by byte
            return np.ascontiguousarray(fit(picture[..., ::-1], shape)[..., ::-1])
        return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))
    rows, columns = (_nearest(old, new) for old, new in zip(picture.shape[:2], (height, width), strict=True))
    return picture[rows[:, None], columns]


def crop(picture: NDArray[Any], shape: Shape) -> NDArray[Any]:
    """Cut the largest part in the middle of a picture [height, width, channels] that has the proportions of `shape`."""
    height, width = picture.shape[:2]
    high = max(1, min(height, round(width * shape[0] / shape[1])))
    wide = max(1, min(width, round(height * shape[1] / shape[0])))
    top, left = (height - high) // 2, (width - wide) // 2
    return picture[top : top + high, left : left + wide]


def _nearest(old: int, new: int) -> NDArray[np.intp]:
    return ((np.arange(new) + 0.5) * old / new).astype(np.intp)
