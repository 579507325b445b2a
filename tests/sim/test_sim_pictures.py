import base64
import io

import av
import numpy as np
import pytest
from PIL import Image

from robolearn.errors import UserError
from robolearn.sim.pictures import caption, film_strip, png_data_uri, save_png, write_video


def frames(n, height=60, width=80):
    return np.stack([np.full((height, width, 3), 20 * (i + 1), np.uint8) for i in range(n)])


def test_film_strip_lays_frames_out_in_rows():
    strip = film_strip(frames(5), columns=3, gap=4)
    assert strip.shape == (2 * 60 + 4, 3 * 80 + 2 * 4, 3)
    assert strip[0, 84, 0] == 40  # second frame, after the gap
    assert strip[64, 0, 0] == 80  # fourth frame begins the second row
    assert (strip[64:, 2 * 84 :] == 255).all()  # no sixth frame


def test_film_strip_in_one_row_by_default():
    assert film_strip(list(frames(3)), gap=0).shape == (60, 240, 3)


def test_captions_change_the_lower_left_corner_only_and_fit():
    frame = frames(1)[0]
    changed = (caption(frame, "1.5 s, a stage with a name far too long for this picture") != frame).any(axis=-1)
    rows, columns = np.nonzero(changed)
    assert rows.min() > 30
    assert columns.max() < 80
    assert not (caption(frame, "a") == caption(frame, "b")).all()


def test_one_caption_per_frame():
    with pytest.raises(ValueError, match="3 frames but 2 captions"):
        film_strip(frames(3), ("a", "b"))


def test_no_frames():
    with pytest.raises(UserError, match="at least one frame"):
        film_strip([])


def test_png_keeps_every_pixel(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    save_png(tmp_path / "a.png", image)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), image)
    head, body = png_data_uri(image).split(",")
    assert head == "data:image/png;base64"
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(body)))), image)


def test_video_has_the_frames_and_the_rate(tmp_path):
    path = tmp_path / "a.mp4"
    write_video(path, frames(7, height=65, width=81), fps=12.5)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert float(stream.average_rate) == 12.5
        pictures = [f.to_ndarray(format="rgb24") for f in container.decode(stream)]
    assert len(pictures) == 7
    assert pictures[0].shape == (64, 80, 3)
    np.testing.assert_allclose([p.mean() for p in pictures], 20 * np.arange(1, 8), atol=3)
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_a_video_that_fails_leaves_the_older_one(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"older")
    with pytest.raises(UserError, match="at least one frame"):
        write_video(path, [], fps=10)
    assert path.read_bytes() == b"older"
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_only_mp4(tmp_path):
    with pytest.raises(UserError, match=r"\.mp4"):
        write_video(tmp_path / "a.gif", frames(1), fps=10)
