"""A monitor without torch in the tiny bundles of `bundle_factory`."""

import hashlib
import json

import numpy as np
import onnx
from bundle_factory import TYPES, name, value
from onnx import TensorProto, helper, numpy_helper

from robolearn.bundle_format import MONITOR, MONITOR_STATE, monitor_outputs
from robolearn.monitoring import MonitorSettings
from robolearn.schema import Schema

KINDS = ("slip", "no_grasp")
RULES = MonitorSettings(
    num_stages=1,
    done_at=0.9,
    done_frames=2,
    held_frames=2,
    eps=0.01,
    stall_frames=(5,),
    recovery_frames=4,
    confidence={"success": ((0.0,), (0.75,))},
)


def add_monitor(path, *, settings=RULES):
    """Give a bundle a monitor: progress is the first number of the state, slips are likelier with every frame."""
    schema = Schema.load(path / "schema.json")
    onnx.save(monitor_graph(schema), path / MONITOR)
    described = {
        "stage_names": ["move"],
        "kinds": list(KINDS),
        "channels": list(schema.observation_keys),
        "hidden_dim": 1,
        "snippet": 1,
        "language": {},
        "settings": settings.to_dict(),
    }
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["monitor"] = described
    manifest["files"][MONITOR] = hashlib.sha256((path / MONITOR).read_bytes()).hexdigest()
    (path / "manifest.json").write_text(json.dumps(manifest))
    return path


def monitor_graph(schema):
    channels = [
        value(name(key), [1, *schema[key].shape], TYPES[schema[key].is_picture]) for key in schema.observation_keys
    ]
    memory, begun, count = MONITOR_STATE
    inputs = [
        value(memory, [1, 1]),
        value(begun, [1, 1, 1]),
        value(count, [1], TensorProto.INT64),
        value("task", [1, 24, 12], TensorProto.INT64),
        *channels,
    ]
    constants = {
        "first": np.zeros(1, np.int64),
        "low": np.array(0, np.float32),
        "high": np.array(1, np.float32),
        "tenth": np.array([[0.1]], np.float32),
        "none": np.zeros((1, 1), np.float32),
        "flat": np.array([1], np.int64),
    }
    nodes = [
        helper.make_node("Add", [memory, "tenth"], ["next_memory"]),
        helper.make_node("Identity", [begun], ["next_begun"]),
        helper.make_node("Identity", [count], ["next_count"]),
        helper.make_node("Gather", [channels[0].name, "first"], ["place"], axis=1),
        helper.make_node("Clip", ["place", "low", "high"], ["done"]),
        helper.make_node("Sub", ["high", "done"], ["open"]),
        helper.make_node("Concat", ["open", "done"], ["stages"], axis=1),
        helper.make_node("Reshape", ["done", "flat"], ["progress"]),
        helper.make_node("Sub", ["high", "next_memory"], ["fine"]),
        helper.make_node("Concat", ["fine", "next_memory", "none"], ["kinds"], axis=1),
    ]
    shapes = {"next_begun": [1, 1, 1], "next_count": [1], "stages": [1, 2], "progress": [1], "kinds": [1, 3]}
    types = {"next_count": TensorProto.INT64}
    outputs = [value(one, shapes.get(one, [1, 1]), types.get(one, TensorProto.FLOAT)) for one in monitor_outputs(KINDS)]
    graph = helper.make_graph(
        nodes, "monitor", inputs, outputs, [numpy_helper.from_array(v, k) for k, v in constants.items()]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
