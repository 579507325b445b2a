import av
import numpy as np
import pytest

from robolearn.data.cut_video import NoKeyFrameError, cut_video

FPS = 20


def write(path, count, *, group, b_frames=0):
    """A video whose frame k is of brightness 5 k."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "h264", rate=FPS, options={"g": str(group), "bf": str(b_frames), "crf": "0", "sc_threshold": "0"}
        )
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv444p"
        for k in range(count):
            picture = np.full((32, 32, 3), 5 * k, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def read(path):
    with av.open(str(path)) as container:
        frames = [(frame.time, frame.to_ndarray(format="rgb24")[..., 1].mean()) for frame in container.decode(video=0)]
    return [t for t, _ in frames], [round(v / 5) for _, v in frames]


@pytest.mark.parametrize(("group", "b_frames"), [(2, 0), (6, 2)])
@pytest.mark.parametrize("first", [0, 12, 24])
def test_a_span_holds_its_frames_from_time_zero_on(tmp_path, group, b_frames, first):
    write(tmp_path / "a.mp4", 40, group=group, b_frames=b_frames)
    cut_video(tmp_path / "a.mp4", tmp_path / "b.mp4", first=first, length=12, fps=FPS)
    times, frames = read(tmp_path / "b.mp4")
    assert frames == list(range(first, first + 12))
    np.testing.assert_allclose(times, np.arange(12) / FPS, atol=1e-3)


def test_a_span_that_begins_between_key_frames_cannot_be_cut(tmp_path):
    write(tmp_path / "a.mp4", 20, group=10)
    with pytest.raises(NoKeyFrameError):
        cut_video(tmp_path / "a.mp4", tmp_path / "b.mp4", first=3, length=4, fps=FPS)
    assert not (tmp_path / "b.mp4").exists()


def test_a_video_that_ends_too_early_is_an_error(tmp_path):
    write(tmp_path / "a.mp4", 20, group=2)
    with pytest.raises(ValueError, match="has 4 of the 8 frames"):
        cut_video(tmp_path / "a.mp4", tmp_path / "b.mp4", first=16, length=8, fps=FPS)
