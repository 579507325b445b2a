import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from robolearn.errors import UserError
from robolearn.pictures import crop, decode_compressed, decode_raw, fit

SIDES = st.integers(1, 40)


def gradient(height, width):
    rows, columns = np.mgrid[:height, :width]
    return np.stack((rows, columns, rows + columns), axis=-1).astype(np.uint8)


@given(SIDES, SIDES, SIDES, SIDES)
def test_a_crop_is_the_largest_part_with_the_proportions_and_in_the_middle(height, width, high, wide):
    part = crop(gradient(height, width), (high, wide, 3))
    assert part.shape[0] == height or part.shape[1] == width
    assert abs(part.shape[0] * wide - part.shape[1] * high) <= max(high, wide)  # to a pixel
    (top, left, _), (bottom, right, _) = part[0, 0].astype(int), part[-1, -1].astype(int)
    assert abs(top - (height - 1 - bottom)) <= 1
    assert abs(left - (width - 1 - right)) <= 1


def test_a_cropped_picture_is_not_distorted():
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[16:32, 24:40] = 255  # a square
    inside = fit(crop(picture, (24, 24, 3)), (24, 24, 3))[..., 0] > 127
    assert inside.any(axis=0).sum() == inside.any(axis=1).sum() == 8


def test_raw_pictures_are_not_copied_where_that_is_possible():
    data = np.arange(2 * 8, dtype=np.uint8)
    picture = decode_raw(data, encoding="bgr8", height=2, width=2, step=8)
    assert np.shares_memory(picture, data)
    np.testing.assert_array_equal(picture[1, 1], (13, 12, 11))


@pytest.mark.parametrize("shape", [(3, 2, 3), (9, 20, 3), (6, 8, 3)])
def test_colours_keep_their_places_whatever_the_order_in_memory(shape):
    rgb = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    bgr = np.ascontiguousarray(rgb[..., ::-1])
    np.testing.assert_array_equal(fit(bgr[..., ::-1], shape), fit(rgb, shape))


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_what_is_left_of_a_compressed_picture_cannot_be_decoded(form):
    buffer = io.BytesIO()
    Image.fromarray(gradient(20, 30)).save(buffer, form)
    whole = buffer.getvalue()
    assert decode_compressed(whole, what="it").shape == (20, 30, 3)
    for end in (0, 5, len(whole) // 2):
        with pytest.raises(UserError, match=r"^it cannot be decoded"):
            decode_compressed(whole[:end], what="it")
