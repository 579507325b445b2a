"""Read a bundle: the policy, its correction and the contract, without torch.

`robolearn.export.bundle` writes it and says what the graphs take.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robolearn.acting import Correction
from robolearn.action_space import ActionSpace, make_action_space
from robolearn.bundle_format import COLLISION, FORMAT, MONITOR, on_top_graph, policy_graphs
from robolearn.errors import UserError
from robolearn.normalize import Normalizer
from robolearn.protocols import Policy
from robolearn.real.collision_file import require_primitives
from robolearn.real.monitor import Watching, load_monitor
from robolearn.real.onnx_on_top import on_top_of
from robolearn.real.onnx_policy import OneGraphPolicy, OnnxPolicy
from robolearn.robot import RobotSpec
from robolearn.schema import Schema, SchemaError

REQUIRED = ("schema.json", "robot.json", "stats.json", "config.yaml")


@dataclass(frozen=True)
class Bundle:
    """Everything that a robot needs to run a policy.

    Attributes:
        path: the folder.
        schema: channels that the policy reads, the action, and the control rate.
        robot: the arm that it was made for.
        action_space: turns actions into joint commands.
        policy: the policy, with its noise steered or the best of its chunks chosen where the bundle says so.
        correction: of each action, or None.
        collision: text of the collision model (see `robolearn.real.collision`), or None where there is none.
        monitor: what says how it goes, or None.
        manifest: contents of `manifest.json`.
    """

    path: Path
    schema: Schema
    robot: RobotSpec
    action_space: ActionSpace
    policy: Policy
    correction: Correction | None
    collision: str | None
    monitor: Watching | None
    manifest: dict[str, Any]

    @property
    def instruction(self) -> str:
        """What the policy is told to do unless somebody says otherwise."""
        return str(self.manifest["task"]["instruction"])

    def require_robot(self, offered: Schema) -> None:
        """Check that a robot has the channels that this bundle reads and takes the actions that it gives.

        Raises:
            UserError: naming the first channel that differs.
        """
        try:
            self.schema.require_same(offered, what="the robot")
        except SchemaError as error:
            raise UserError(
                f"bundle {self.path} does not fit this robot: {error}; use a bundle that was trained for it"
            ) from error


def load_bundle(path: Path, *, verify: bool = True) -> Bundle:
    """Open a bundle folder.

    Args:
        path: the folder.
        verify: compare each file's checksum with the manifest's.

    Raises:
        UserError: naming the file that is missing, changed, truncated or unreadable.
    """
    manifest = _read_manifest(path)
    for name in manifest["files"]:
        _require_intact(path / name, manifest["files"][name] if verify else None)
    try:
        schema = Schema.load(path / "schema.json")
        robot = RobotSpec.from_dict(json.loads((path / "robot.json").read_text()))
        normalizer = Normalizer(schema, json.loads((path / "stats.json").read_text()))
        action_space = make_action_space(manifest["action_space"], robot=robot, dt=1 / schema.fps)
        description, on_top = manifest["policy"], manifest["on_top"]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"bundle {path} is damaged: {error}; export it again") from error
    policy: Policy
    if description["sampler"] is None:
        policy = OneGraphPolicy(path, schema=schema, description=description)
    else:
        policy = OnnxPolicy(path, schema=schema, normalizer=normalizer, description=description)
    acting = on_top_of(policy, path, on_top, schema=schema, normalizer=normalizer)
    collision = (path / COLLISION).read_text() if COLLISION in manifest["files"] else None
    if collision is not None:
        require_primitives(collision)
    monitor = load_monitor(path, manifest.get("monitor"))
    return Bundle(path, schema, robot, action_space, acting.policy, acting.correction, collision, monitor, manifest)


def _read_manifest(path: Path) -> dict[str, Any]:
    file = path / "manifest.json"
    if not file.is_file():
        raise UserError(f"{path} is no bundle (it has no manifest.json): give the folder that `robolearn export` wrote")
    try:
        manifest = json.loads(file.read_text())
    except ValueError as error:
        raise UserError(f"{file} is changed or truncated: export the bundle again") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise UserError(f"{file} is no manifest of format {FORMAT}: export the bundle again with this version")
    required = (*REQUIRED, *policy_graphs(manifest.get("policy", {})))
    if (on_top := manifest.get("on_top")) is not None:
        required = (*required, on_top_graph(on_top["kind"]))
    if manifest.get("monitor") is not None:
        required = (*required, MONITOR)
    if missing := [name for name in required if name not in manifest.get("files", {})]:
        raise UserError(f"{file} does not list '{missing[0]}': export the bundle again")
    return manifest


def _require_intact(file: Path, checksum: str | None) -> None:
    if not file.is_file():
        raise UserError(f"the bundle lacks {file}: export or copy it again")
    if checksum is not None and hashlib.sha256(file.read_bytes()).hexdigest() != checksum:
        raise UserError(f"{file} is changed or truncated (checksum differs from the manifest): copy the bundle again")
