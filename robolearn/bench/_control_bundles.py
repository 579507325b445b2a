"""Bundles that go wrong: a policy that explodes or leaves its workspace, files for another robot, half a file."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from robolearn.bundle_format import DENOISER, ENCODER, input_name
from robolearn.schema import Feature, Schema

if TYPE_CHECKING:
    import onnx

HUGE = 1e6
CAMERA, SIZE = "observation.images.wrist", 32
Change = Callable[[Path], None]


def derived(bundle: Path, out: Path, change: Change, *, hashed: bool = True) -> Path:
    """Copy a bundle to `out` and change the copy; its manifest has the new checksums if `hashed`."""
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(bundle, out)
    change(out)
    if hashed:
        manifest = json.loads((out / "manifest.json").read_text())
        manifest["files"] = {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in manifest["files"]}
        (out / "manifest.json").write_text(json.dumps(manifest))
    return out


def explode(bundle: Path) -> None:
    """Make its policy predict a million times too much."""
    _predict(bundle, factor=HUGE)


def become_nan(bundle: Path) -> None:
    """Make it predict what is no number."""
    _predict(bundle, factor=np.nan)


def dive(bundle: Path) -> None:
    """Make it predict nothing but to move down, as fast as it may."""
    names = Schema.load(bundle / "schema.json").action.names
    direction = np.array([-HUGE if name == "dz" else 0.0 for name in names])
    if not direction.any():
        raise RuntimeError(f"no component of the action is called 'dz': {names}")
    _predict(bundle, factor=0.0, offset=direction)


def suit_another_robot(bundle: Path) -> None:
    """Rename a joint, everywhere."""
    robot = json.loads((bundle / "robot.json").read_text())
    before, after = robot["joint_names"][2], "elbow"
    for name in ("robot.json", "schema.json"):
        (bundle / name).write_text((bundle / name).read_text().replace(f'"{before}"', f'"{after}"'))


def lose_half(bundle: Path) -> None:
    """Cut its encoder in the middle, as a copy that broke off."""
    whole = (bundle / ENCODER).read_bytes()
    (bundle / ENCODER).write_bytes(whole[: len(whole) // 2])


def look(bundle: Path) -> None:
    """Make it ask for a camera's pictures, which then have no effect."""
    import onnx

    schema = Schema.load(bundle / "schema.json")
    picture = Feature("image", (SIZE, SIZE, 3), ("height", "width", "channels"), ("1",) * 3, "observation")
    features = dict(schema.features)
    action = features.pop("action")
    Schema({**features, CAMERA: picture, "action": action}, schema.fps).save(bundle / "schema.json")
    graph = onnx.load(bundle / ENCODER)
    steps = graph.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    shape = ["batch", steps, SIZE, SIZE, 3]
    graph.graph.input.append(onnx.helper.make_tensor_value_info(input_name(CAMERA), onnx.TensorProto.UINT8, shape))
    onnx.save(graph, bundle / ENCODER)


def _predict(bundle: Path, *, factor: float, offset: Any = 0.0) -> None:
    """Let the denoiser give `factor` times its prediction, plus `offset` [action_dim]."""
    import onnx

    model = onnx.load(bundle / DENOISER)
    graph = model.graph
    (output,) = graph.output
    for node in graph.node:
        node.output[:] = [f"{name}_sound" if name == output.name else name for name in node.output]
        node.input[:] = [f"{name}_sound" if name == output.name else name for name in node.input]
    graph.initializer.extend([_constant("spoil_factor", factor), _constant("spoil_offset", offset)])
    graph.node.extend(
        [
            onnx.helper.make_node("Mul", [f"{output.name}_sound", "spoil_factor"], ["spoiled"]),
            onnx.helper.make_node("Add", ["spoiled", "spoil_offset"], [output.name]),
        ]
    )
    onnx.save(model, bundle / DENOISER)


def _constant(name: str, value: Any) -> onnx.TensorProto:
    from onnx import numpy_helper

    return numpy_helper.from_array(np.asarray(value, np.float32), name)
