"""From frames to something to look at: film strips, PNG files, data URIs and videos."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage
from PIL import ImageDraw, ImageFont

from robolearn.errors import UserError

Image = NDArray[np.uint8]

GAP_COLOUR = (255, 255, 255)
CAPTION_INK, CAPTION_GROUND = (255, 255, 255, 255), (20, 24, 30, 150)


def film_strip(
    frames: Sequence[Image] | Image, captions: Sequence[str] = (), *, columns: int | None = None, gap: int = 3
) -> Image:
    """Lay frames out in rows, with a caption on each: uint8 [H, W, 3].

    Args:
        frames: uint8 [height, width, 3] each, all of one size.
        captions: one per frame, or none; each is shortened to the frame's width.
        columns: frames per row; all in one row when None.
        gap: pixels between frames.
    """
    if not len(frames):
        raise UserError("a film strip needs at least one frame")
    if captions and len(captions) != len(frames):
        raise ValueError(f"{len(frames)} frames but {len(captions)} captions")
    height, width = frames[0].shape[:2]
    columns = len(frames) if columns is None else min(columns, len(frames))
    rows = -(-len(frames) // columns)
    size = (columns * (width + gap) - gap, rows * (height + gap) - gap)
    strip = PilImage.new("RGB", size, GAP_COLOUR)
    for i, frame in enumerate(frames):
        picture = caption(frame, captions[i]) if captions else frame
        strip.paste(PilImage.fromarray(picture), (i % columns * (width + gap), i // columns * (height + gap)))
    return np.asarray(strip)


def caption(frame: Image, text: str) -> Image:
    """Return the frame [height, width, 3] with a line of text in its lower left corner."""
    picture = PilImage.fromarray(frame).convert("RGBA")
    size = max(9, frame.shape[0] // 12)
    font = ImageFont.load_default(size)
    margin, pad = size // 2, size * 0.3
    room = picture.width - 2 * (margin + pad)
    if font.getlength(text) > room:
        while text and font.getlength(text + "…") > room:
            text = text[:-1]
        text += "…"
    layer = PilImage.new("RGBA", picture.size)
    draw = ImageDraw.Draw(layer)
    left, bottom = margin + pad, picture.height - margin - pad
    box = (margin, bottom - size - pad, left + font.getlength(text) + pad, picture.height - margin)
    draw.rounded_rectangle(box, radius=pad, fill=CAPTION_GROUND)
    draw.text((left, (box[1] + box[3]) / 2), text, font=font, fill=CAPTION_INK, anchor="lm")
    return np.asarray(PilImage.alpha_composite(picture, layer).convert("RGB"))


def png_bytes(image: Image) -> bytes:
    """Encode uint8 [H, W, 3] as PNG."""
    buffer = io.BytesIO()
    PilImage.fromarray(image).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def save_png(path: Path, image: Image) -> None:
    """Write uint8 [H, W, 3] to a PNG file; the folder must exist."""
    _replace(path, lambda tmp: tmp.write_bytes(png_bytes(image)))


def png_data_uri(image: Image) -> str:
    """Return uint8 [H, W, 3] as `data:image/png;base64,...` for an HTML page that needs no other file."""
    return "data:image/png;base64," + base64.b64encode(png_bytes(image)).decode("ascii")


def write_video(path: Path, frames: Iterable[Image], *, fps: float) -> None:
    """Write an H.264 video that browsers play.

    Args:
        path: ends in .mp4; the folder must exist.
        frames: uint8 [height, width, 3] each; an odd last row or column is cut off (the codec wants even sizes).
        fps: frames per second.
    """
    if path.suffix != ".mp4":
        raise UserError(f"a video is written as .mp4: change the name '{path.name}'")
    _replace(path, lambda tmp: _encode(tmp, frames, fps))


def _encode(path: Path, frames: Iterable[Image], fps: float) -> None:
    import av  # brings FFmpeg's libraries along: only where a video is wanted

    stream = None
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        for frame in frames:
            height, width = frame.shape[0] // 2 * 2, frame.shape[1] // 2 * 2
            if stream is None:
                stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000))
                stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
                stream.options = {"crf": "20"}
            picture = np.ascontiguousarray(frame[:height, :width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        if stream is None:
            raise UserError("a video needs at least one frame")
        container.mux(stream.encode())


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    tmp = path.with_name(f".{path.name}.tmp")
    try:
        write(tmp)
        os.replace(tmp, path)
    finally:
        tmp.unlink(missing_ok=True)
