"""What the control loop says, as standard ROS messages: topics, types and how they are made.

Under `BASE`: `commands` (Float64MultiArray, as sent), `chunk` (JointTrajectory whose positions are actions, stamped
with the control step that the first is for), `events` and `verdict` (a String with JSON; Bool), and under `frame/` what
belongs to one control step, all at the time at which it began: each observation channel, `action` (Float32MultiArray;
pictures as CompressedImage) and `intervention` (Bool).
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.pictures import decode_raw
from robolearn.real.messages import unpack
from robolearn.schema import Schema

# kinds of what is said: by the control loop, and by others of its process
COMMAND, OBSERVATION, ACTION, CHUNK, STATE, INSTRUCTION, JUDGEMENT = range(7)
BASE = "/policy_controller/"
COMMANDS, CHUNKS, EVENTS, VERDICT, FRAME = (
    f"{BASE}{name}" for name in ("commands", "chunk", "events", "verdict", "frame/")
)
INTERVENTION = "intervention"
FLOAT32, FLOAT64 = "std_msgs/msg/Float32MultiArray", "std_msgs/msg/Float64MultiArray"
TEXT, TRUTH, TRAJECTORY = "std_msgs/msg/String", "std_msgs/msg/Bool", "trajectory_msgs/msg/JointTrajectory"
IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
SECOND = 1_000_000_000  # ns
QUALITY = 95  # of JPEG: hardly any loss


class Message(NamedTuple):
    """A message to be written.

    Attributes:
        topic: its name.
        kind: name of its type.
        time: ns since the epoch.
        data: as CDR.
    """

    topic: str
    kind: str
    time: int
    data: bytes


def frame_topic(channel: str) -> str:
    """Topic of a channel's values at control steps."""
    return FRAME + channel.replace(".", "/")


class Messages:
    """Makes messages."""

    def __init__(self, schema: Schema) -> None:
        """Know the channels of `schema` and ROS 2's message types."""
        from rosbags.typesys import Stores, get_typestore

        self.store: Any = get_typestore(Stores.ROS2_JAZZY)
        self._schema, self._types = schema, self.store.types
        action = schema.action
        self._names = list(action.names)
        self._low, self._high = (np.array(bound, np.float32) for bound in (action.low, action.high))

    def said(self, kind: int, time: int, data: bytes) -> Iterator[Message]:
        """Messages of what was said; see `robolearn.real.recorder.Recorder` for the bytes."""
        if kind == COMMAND:
            yield self._numbers(COMMANDS, time, np.frombuffer(data, np.float64))
        elif kind == OBSERVATION:
            for key, values in unpack(self._schema, data).items():
                yield self._channel(key, time, values[0])
        elif kind == ACTION:
            # what exceeds the bounds is not executed
            action = np.frombuffer(data, np.float32, offset=1).clip(self._low, self._high)
            yield self._numbers(frame_topic("action"), time, action)
            yield self._message(frame_topic(INTERVENTION), time, TRUTH, data=bool(data[0]))
        elif kind == CHUNK:
            yield self._chunk(time, np.frombuffer(data, np.float32).reshape(-1, len(self._names)))
        elif kind == STATE:
            yield self.event(time, data.decode())
        elif kind == JUDGEMENT:
            yield self._message(VERDICT, time, TRUTH, data=bool(data[0]))

    def event(self, time: int, text: str) -> Message:
        """Something happened, as JSON says."""
        return self._message(EVENTS, time, TEXT, data=text)

    def compressed(self, message: Message) -> Message:
        """A picture as JPEG, under `<topic>/compressed`; any other message as it is."""
        if message.kind != IMAGE:
            return message
        image = self.store.deserialize_cdr(message.data, IMAGE)
        try:
            rgb = decode_raw(
                image.data, encoding=image.encoding, height=image.height, width=image.width, step=image.step
            )
        except UserError:  # depth, for one
            return message
        return self._picture(f"{message.topic}/compressed", message.time, rgb, image.header)

    def _channel(self, key: str, time: int, values: NDArray[Any]) -> Message:
        if self._schema[key].is_picture:
            return self._picture(frame_topic(key), time, values, self._header(time))
        return self._numbers(frame_topic(key), time, values)

    def _picture(self, topic: str, time: int, rgb: NDArray[np.uint8], header: Any) -> Message:
        from PIL import Image

        buffer = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(rgb)).save(buffer, "JPEG", quality=QUALITY, subsampling=0)
        data = np.frombuffer(buffer.getvalue(), np.uint8)
        return self._message(topic, time, COMPRESSED, header=header, format="jpeg", data=data)

    def _numbers(self, topic: str, time: int, values: NDArray[Any]) -> Message:
        layout = self._types["std_msgs/msg/MultiArrayLayout"]([], 0)
        kind = FLOAT32 if values.dtype == np.float32 else FLOAT64
        return self._message(topic, time, kind, layout=layout, data=values)

    def _chunk(self, time: int, actions: NDArray[np.float32]) -> Message:
        duration, none = self._types["builtin_interfaces/msg/Duration"], np.empty(0)
        point = self._types["trajectory_msgs/msg/JointTrajectoryPoint"]
        after = [round(i * SECOND / self._schema.fps) for i in range(len(actions))]
        points = [
            point(action.astype(np.float64), none, none, none, duration(*divmod(ns, SECOND)))
            for action, ns in zip(actions, after, strict=True)
        ]
        header = self._header(time)
        return self._message(CHUNKS, time, TRAJECTORY, header=header, joint_names=self._names, points=points)

    def _header(self, time: int) -> Any:
        return self._types["std_msgs/msg/Header"](self._types["builtin_interfaces/msg/Time"](*divmod(time, SECOND)), "")

    def _message(self, topic: str, time: int, kind: str, **fields: Any) -> Message:
        return Message(topic, kind, time, bytes(self.store.serialize_cdr(self._types[kind](**fields), kind)))
