"""Tiny bundles without torch, for the tests of everything that reads one."""

import hashlib
import json

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from robolearn.action_space import make_action_space
from robolearn.proprioception import poses_feature, state_feature
from robolearn.schema import Feature, Schema
from robolearn.sim.collision import collision_model
from robolearn.sim.robots import get_robot

HORIZON = 4


CAMERA = "observation.images.wrist"


def make_schema(robot, *, objects=("cube",), camera=None, fps=20):
    """With pictures of a wrist camera where its size (height, width) is given."""
    features = {"observation.state": state_feature(robot)}
    if objects:
        features["observation.environment_state"] = poses_feature(objects)
    if camera is not None:
        axes = ("height", "width", "channels")
        features[CAMERA] = Feature("image", (*camera, 3), axes, ("1",) * 3, "observation")
    features["action"] = make_action_space("ee_delta", robot=robot, dt=1 / fps).feature
    return Schema(features, fps)


def write_bundle(
    path, *, action=None, residual=None, scale=0.5, objects=("cube",), camera=None, n_action_steps=2, n_obs_steps=2
):
    """Bundle whose policy always gives the normalised `action` [A], corrected by `scale * residual` [A] and clipped.

    With a camera the brightness of its pictures, 0 to 1, is added to the action.
    """
    robot = get_robot("panda")
    schema = make_schema(robot, objects=objects, camera=camera)
    dim = schema.action.shape[0]
    path.mkdir(parents=True)
    schema.save(path / "schema.json")
    (path / "robot.json").write_text(json.dumps(robot.to_dict()))
    keys = [key for key in schema.observation_keys if not schema[key].is_picture]
    statistics = {key: {"mean": [0.0] * schema[key].shape[0], "std": [1.0] * schema[key].shape[0]} for key in keys}
    (path / "stats.json").write_text(json.dumps(statistics))
    (path / "config.yaml").write_text("{}\n")
    (path / "collision.xml").write_text(collision_model(robot))
    goal = np.zeros(dim) if action is None else np.asarray(action)
    onnx.save(encoder_graph(schema, n_obs_steps), path / "encoder.onnx")
    onnx.save(denoiser_graph(goal, seen=camera is not None), path / "denoiser.onnx")
    if residual is not None:
        onnx.save(correction_graph(schema, scale * np.asarray(residual)), path / "correction.onnx")
    manifest = {
        "format": 3,
        "robolearn": "0",
        "task": {"name": "lift", "instruction": "lift", "max_episode_steps": 40, "stage_names": ["move"]},
        "action_space": "ee_delta",
        "policy": {
            "kind": "flow",
            "horizon": HORIZON,
            "n_action_steps": n_action_steps,
            "n_obs_steps": n_obs_steps,
            "noise_shape": [HORIZON, dim],
            "sampler": {"name": "euler", "steps": 3},
        },
        "on_top": None if residual is None else {"kind": "correction"},
        "files": {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(path.iterdir())},
        "provenance": {},
    }
    (path / "manifest.json").write_text(json.dumps(manifest))
    return path


def encoder_graph(schema, n_obs_steps):
    """The first channel, flat; of a schema with a camera the brightness of its pictures."""
    inputs = [
        value(name(key), ["B", n_obs_steps, *schema[key].shape], TYPES[schema[key].is_picture])
        for key in schema.observation_keys
    ]
    nodes = [helper.make_node("Flatten", [inputs[0].name], ["observed"], axis=1)]
    constants = []
    if CAMERA in schema.features:
        nodes = [
            helper.make_node("Cast", [name(CAMERA)], ["pixels"], to=TensorProto.FLOAT),
            helper.make_node("Flatten", ["pixels"], ["flat"], axis=1),
            helper.make_node("ReduceMean", ["flat", "last"], ["mean"], keepdims=1),
            helper.make_node("Div", ["mean", "white"], ["observed"]),
        ]
        constants = [
            numpy_helper.from_array(np.array((1,), np.int64), "last"),
            numpy_helper.from_array(np.array(255.0, np.float32), "white"),
        ]
    return model(nodes, "encoder", inputs, value("observed", ["B", "D"]), constants)


def denoiser_graph(goal, *, seen):
    """(goal - sample) / (1 - time): any number of Euler steps ends at the goal, which is moved by what is `seen`."""
    dim = len(goal)
    inputs = [value("observed", ["B", "D"]), value("sample", ["B", HORIZON, dim]), value("time", ["B"])]
    moving = [
        helper.make_node("Unsqueeze", ["observed", "last"], ["shift"]),
        helper.make_node("Add", ["goal", "shift"], ["there"]),
    ]
    nodes = [
        *(moving if seen else []),
        helper.make_node("Sub", ["there" if seen else "goal", "sample"], ["way"]),
        helper.make_node("Sub", ["one", "time"], ["rest"]),
        helper.make_node("Unsqueeze", ["rest", "axes"], ["rest3"]),
        helper.make_node("Div", ["way", "rest3"], ["prediction"]),
    ]
    constants = [
        numpy_helper.from_array(goal.astype(np.float32), "goal"),
        numpy_helper.from_array(np.array(1.0, np.float32), "one"),
        numpy_helper.from_array(np.array((1, 2), np.int64), "axes"),
        numpy_helper.from_array(np.array((2,), np.int64), "last"),
    ]
    return model(nodes, "denoiser", inputs, value("prediction", ["B", HORIZON, dim]), constants)


def correction_graph(schema, residual):
    """The same residual for every base action, within [-1, 1]."""
    dim = len(residual)
    inputs = [value(name(key), ["B", *schema[key].shape]) for key in schema.observation_keys]
    inputs.append(value("base_action", ["B", dim]))
    nodes = [
        helper.make_node("Add", ["base_action", "constant"], ["sum"]),
        helper.make_node("Clip", ["sum", "low", "high"], ["action"]),
    ]
    constants = [
        numpy_helper.from_array(residual.astype(np.float32), "constant"),
        numpy_helper.from_array(np.array(-1.0, np.float32), "low"),
        numpy_helper.from_array(np.array(1.0, np.float32), "high"),
    ]
    return model(nodes, "correction", inputs, value("action", ["B", dim]), constants)


def name(channel):
    return channel.replace(".", "_")


TYPES = {False: TensorProto.FLOAT, True: TensorProto.UINT8}


def value(label, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(label, kind, shape)


def model(nodes, label, inputs, output, constants):
    graph = helper.make_graph(nodes, label, inputs, [output], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
