"""Cut a span out of a video file without decoding it."""

from __future__ import annotations

from pathlib import Path

from robolearn.data.files import replacing


class NoKeyFrameError(Exception):
    """The span does not begin with a key frame, so it cannot be cut out without encoding it anew."""


def cut_video(source: Path, target: Path, *, first: int, length: int, fps: int) -> None:
    """Copy the packets of some consecutive frames; the first of them then stands at time 0.

    Args:
        source: the video file.
        target: the file to write.
        first: number of the first frame, counted by its time.
        length: frames to copy.
        fps: frames per second.

    Raises:
        NoKeyFrameError: the first frame is not a key frame.
        ValueError: the file ends before the span does.
    """
    import av

    with replacing(target) as path, av.open(str(source)) as old, av.open(str(path), "w", format="mp4") as new:
        stream = old.streams.video[0]
        copy = new.add_stream_from_template(stream, opaque=True)
        base = stream.time_base
        assert base is not None
        offset = round(first / fps / base)
        old.seek(max(0, offset), stream=stream)
        found = 0
        for packet in old.demux(stream):
            if packet.pts is None:
                continue  # the end of the stream
            frame = round(packet.pts * base * fps)
            if not first <= frame < first + length:
                if found == length:
                    break
                continue
            if not found and not (frame == first and packet.is_keyframe):
                raise NoKeyFrameError(f"frame {first} of {source} is no key frame")
            packet.pts -= offset
            packet.dts = None if packet.dts is None else packet.dts - offset
            packet.stream = copy
            new.mux(packet)
            found += 1
        if found < length:
            raise ValueError(f"{source} has {found} of the {length} frames from frame {first} on")
