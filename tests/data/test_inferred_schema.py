"""Schemas of datasets that other programs wrote."""

import pytest

from robolearn.data.inferred_schema import infer_schema
from robolearn.errors import UserError

ACTION = {"dtype": "float32", "shape": [1], "names": None}


def infer(**features):
    return infer_schema(
        {**{key.replace("__", "."): value for key, value in features.items()}, "action": ACTION}, fps=10
    )


@pytest.mark.parametrize("dtype", ["image", "video"])
@pytest.mark.parametrize(
    ("shape", "found"),
    [
        ([480, 640, 3], (480, 640, 3)),
        ([3, 480, 640], (480, 640, 3)),
        ([1, 480, 640], (480, 640, 1)),
        ([480, 640, 1], (480, 640, 1)),
    ],
)
def test_pictures_end_with_their_channels(dtype, shape, found):
    schema = infer(observation__images__eye={"dtype": dtype, "shape": shape, "names": None})
    feature = schema["observation.images.eye"]
    assert (feature.shape, feature.names) == (found, ("height", "width", "channels"))
    assert (feature.role, feature.unit) == ("observation", ("1",) * 3)


def test_arrays_keep_their_shape():
    feature = infer(observation__depth__eye={"dtype": "float32", "shape": [1, 64, 64], "names": None})
    assert feature["observation.depth.eye"].shape == (1, 64, 64)
    assert feature["observation.depth.eye"].unit == ("unknown",) * 3


def test_what_is_no_vector_and_no_picture_is_left_out():
    schema = infer(
        observation__grid={"dtype": "float32", "shape": [4, 4], "names": None},
        note={"dtype": "string", "shape": [1], "names": None},
        notes={"dtype": "string", "shape": [1, 1, 1], "names": None},
        timestamp={"dtype": "float32", "shape": [1], "names": None},
    )
    assert list(schema) == ["action"]


def test_a_dataset_needs_actions():
    with pytest.raises(UserError, match="no channel 'action'"):
        infer_schema({"observation.state": ACTION}, fps=10)
