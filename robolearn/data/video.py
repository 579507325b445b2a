"""Pictures of an episode as a video that LeRobot decodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.schema import Feature

CODEC: Final = "h264"
PIXEL_FORMAT = "yuv420p"
GROUP = 2  # pictures from one key frame to the next: any frame is decoded from at most one other, as LeRobot wants it
QUALITY = 18  # constant rate factor, 0 is lossless and 51 the worst; LeRobot's default is 30
PRESET = "veryfast"
# looking ahead makes x264 write other files of the same pictures now and then, and gains nothing in such short groups
STEADY = {"threads": "1", "rc-lookahead": "0", "sc_threshold": "0"}
OPTIONS = {"g": str(GROUP), "bf": "0", "crf": str(QUALITY), "preset": PRESET, **STEADY}


def require_encodable(key: str, feature: Feature) -> None:
    """Check that a channel's pictures fit the codec, which halves the colours' resolution.

    Raises:
        UserError: an odd width or height.
    """
    height, width, _ = feature.shape
    if height % 2 or width % 2:
        raise UserError(
            f"channel '{key}' has pictures of {width} x {height} pixels, but a video needs even sizes: "
            "choose another size, or store pictures as images with video=false"
        )


def video_info(feature: Feature, *, fps: int) -> dict[str, Any]:
    """Return what LeRobot's `info.json` says about a channel's videos."""
    height, width, channels = feature.shape
    return {
        "video.height": height,
        "video.width": width,
        "video.codec": CODEC,
        "video.pix_fmt": PIXEL_FORMAT,
        "video.fps": fps,
        "video.channels": channels,
        "has_audio": False,
        "video.g": GROUP,
        "video.crf": QUALITY,
        "video.preset": PRESET,
        "video.fast_decode": 0,
        "video.video_backend": "pyav",
        "video.extra_options": {},
        "is_depth_map": False,
    }


def write_video(path: Path, pictures: NDArray[np.uint8], *, fps: int) -> None:
    """Encode pictures [T, height, width, 3] as an MP4 file; frame t is shown at t / fps seconds."""
    import av  # FFmpeg's libraries, for videos alone

    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream(CODEC, rate=fps, options=OPTIONS)
        stream.pix_fmt = PIXEL_FORMAT
        stream.height, stream.width = pictures.shape[1:3]
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
