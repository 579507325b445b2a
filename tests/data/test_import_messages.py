import io
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image as PilImage

from robolearn.data.importers.messages import AbsentError, follow, numbers, picture
from robolearn.errors import UserError


@dataclass
class Header:
    stamp: float = 0.0


@dataclass
class Vector3:
    x: float
    y: float
    z: float


@dataclass
class Wrench:
    force: Vector3
    torque: Vector3


@dataclass
class WrenchStamped:
    header: Header
    wrench: Wrench
    __msgtype__: ClassVar[str] = "geometry_msgs/msg/WrenchStamped"


@dataclass
class JointState:
    name: list
    position: np.ndarray
    velocity: np.ndarray = field(default_factory=lambda: np.empty(0))
    __msgtype__: ClassVar[str] = "sensor_msgs/msg/JointState"


@dataclass
class Point:
    positions: np.ndarray


@dataclass
class JointTrajectory:
    joint_names: list
    points: list
    __msgtype__: ClassVar[str] = "trajectory_msgs/msg/JointTrajectory"


@dataclass
class MultiArray:
    data: np.ndarray
    __msgtype__: ClassVar[str] = "std_msgs/msg/Float64MultiArray"


@dataclass
class Picture:
    height: int
    width: int
    encoding: str
    step: int
    data: np.ndarray
    __msgtype__: ClassVar[str] = "sensor_msgs/msg/Image"


@dataclass
class Compressed:
    format: str
    data: np.ndarray
    __msgtype__: ClassVar[str] = "sensor_msgs/msg/CompressedImage"


WRENCH = WrenchStamped(Header(9.0), Wrench(Vector3(1, 2, 3), Vector3(4, 5, 6)))


def test_joints_keep_the_names_of_the_message():
    found = numbers(JointState(["b", "a"], np.array([1.0, 2.0])), None)
    assert (found.names, found.values.tolist(), found.joints) == (("b", "a"), [1, 2], True)


def test_a_trajectory_gives_its_first_point():
    found = numbers(JointTrajectory(["a", "b"], [Point(np.array([1.0, 2.0])), Point(np.array([3.0, 4.0]))]), None)
    assert (found.names, found.values.tolist()) == (("a", "b"), [1, 2])


def test_an_array_is_numbered():
    assert numbers(MultiArray(np.array([7.0, 8.0])), None).names == ("data_0", "data_1")


def test_a_wrench_is_its_numbers_without_the_header():
    found = numbers(WRENCH, None)
    assert found.values.tolist() == [1, 2, 3, 4, 5, 6]
    assert found.names[0] == "wrench.force.x"
    assert numbers(WRENCH, "wrench.force").names == ("x", "y", "z")


def test_a_single_number_has_the_name_of_its_field():
    found = numbers(WRENCH, "wrench.torque.z")
    assert (found.names, found.values.tolist()) == (("z",), [6])


def test_a_misspelt_field_is_named_with_the_nearest():
    with pytest.raises(UserError, match="no field 'forse'; did you mean 'force'"):
        follow(WRENCH, "wrench.forse.x")


def test_an_empty_message_is_not_an_error_of_the_contract():
    with pytest.raises(AbsentError):
        numbers(JointTrajectory(["a"], []), None)
    with pytest.raises(AbsentError):
        numbers(JointState(["a"], np.empty(0)), None)


def test_text_is_no_number():
    with pytest.raises(UserError, match="holds no numbers at 'name'"):
        numbers(JointState(["a"], np.array([1.0])), "name")


@pytest.mark.parametrize(("encoding", "channels"), [("rgb8", 3), ("bgr8", 3), ("rgba8", 4), ("bgra8", 4), ("mono8", 1)])
def test_pictures_become_rgb_whatever_their_encoding_and_padding(encoding, channels):
    rgb = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    if channels == 1:
        rgb[...] = rgb[..., :1]
    stored = {"rgb": rgb, "bgr": rgb[..., ::-1], "mon": rgb[..., :1]}[encoding[:3]]
    if channels == 4:
        stored = np.concatenate([stored, np.full((4, 5, 1), 9, np.uint8)], axis=2)
    rows = np.zeros((4, 5 * channels + 3), np.uint8)
    rows[:, :-3] = stored.reshape(4, -1)
    np.testing.assert_array_equal(picture(Picture(4, 5, encoding, rows.shape[1], rows.reshape(-1))), rgb)


def test_a_compressed_picture_is_decoded():
    rgb = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    buffer = io.BytesIO()
    PilImage.fromarray(rgb).save(buffer, "PNG")
    data = np.frombuffer(buffer.getvalue(), np.uint8)
    np.testing.assert_array_equal(picture(Compressed("png", data)), rgb)
    with pytest.raises(UserError, match="cannot be decoded"):
        picture(Compressed("jpeg", data[:20]))


def test_depth_is_refused_and_a_short_picture_too():
    with pytest.raises(UserError, match="'16UC1' cannot be read"):
        picture(Picture(1, 1, "16UC1", 2, np.zeros(2, np.uint8)))
    with pytest.raises(UserError, match="damaged"):
        picture(Picture(4, 4, "rgb8", 12, np.zeros(40, np.uint8)))
