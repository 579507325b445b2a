"""A trained policy behind the project's contract: NumPy arrays in physical units in and out."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.normalize import Normalizer, Statistics
from robolearn.protocols import Observation
from robolearn.schema import ActionChunk, Schema

if TYPE_CHECKING:
    from lerobot.policies.pretrained import PreTrainedPolicy

WEIGHTS, CONFIG, SCHEMA, STATISTICS = "model.safetensors", "config.json", "schema.json", "stats.json"


class TorchPolicy:
    """Satisfies `robolearn.protocols.Policy` with a LeRobot-style policy that works on normalised tensors."""

    def __init__(self, policy: PreTrainedPolicy, schema: Schema, statistics: Statistics) -> None:
        """Serve `policy`.

        Args:
            policy: has `predict_action_chunk(batch, noise=, num_samples=)` and a config with `n_obs_steps`, `horizon`,
                `n_action_steps`.
            schema: channels of the training data; those that the policy cannot read are ignored.
            statistics: {channel: {"mean", "std", ...}} of the training data.
        """
        config: Any = policy.config
        self.policy = policy.eval()
        self.statistics = statistics
        self.schema = schema.select([*schema.observation_keys, "action"])
        self.normalizer = Normalizer(self.schema, statistics)
        self.n_obs_steps: int = config.n_obs_steps
        self.horizon: int = config.horizon
        self.n_action_steps: int = config.n_action_steps
        self.noise_shape: tuple[int, ...] | None = (config.horizon, *schema.action.shape)
        self._low = np.array(self.schema.action.low, np.float32)
        self._high = np.array(self.schema.action.high, np.float32)

    @torch.inference_mode()
    def predict_chunk(
        self, observation: Observation, noise: NDArray[np.float32] | None = None, n_samples: int = 1
    ) -> ActionChunk:
        """See `robolearn.protocols.Policy.predict_chunk`; t0 = 0 is the moment of the newest frame."""
        batch = {key: torch.from_numpy(x) for key, x in self.normalizer.observation(observation).items()}
        start = None if noise is None else torch.from_numpy(np.asarray(noise, np.float32))
        chunk = self.policy.predict_action_chunk(batch, noise=start, num_samples=n_samples).numpy()
        values = self.normalizer["action"].inverse(chunk).clip(self._low, self._high)
        return ActionChunk(values, t0=0.0, dt=1.0 / self.schema.fps)


def save_policy(folder: Path, policy: TorchPolicy) -> None:
    """Write model.safetensors, config.json (LeRobot's `save_pretrained`), schema.json and stats.json.

    The folder appears whole or not at all.
    """
    folder = Path(folder)
    fresh, old = (folder.with_name(f".{folder.name}.{suffix}") for suffix in ("new", "old"))
    for left_over in (fresh, old):
        shutil.rmtree(left_over, ignore_errors=True)
    fresh.mkdir(parents=True)
    policy.policy.save_pretrained(fresh)
    policy.schema.save(fresh / SCHEMA)
    (fresh / STATISTICS).write_text(json.dumps(_plain(policy.statistics), indent=2) + "\n")
    if folder.exists():
        os.replace(folder, old)
    os.replace(fresh, folder)
    shutil.rmtree(old, ignore_errors=True)


def load_policy(folder: Path) -> TorchPolicy:
    """Read what `save_policy` wrote.

    Raises:
        UserError: a file is missing, or the checkpoint is of another policy; the message names what differs.
    """
    folder = Path(folder)
    for name in (CONFIG, WEIGHTS, SCHEMA, STATISTICS):
        if not (folder / name).exists():
            raise UserError(f"{folder} is not a policy folder, for it lacks {name}: give a folder that training wrote")
    policy = _build(folder)
    schema = Schema.load(folder / SCHEMA)
    _require_same_channels(policy.config, schema, folder)
    _load_weights(policy, folder / WEIGHTS)
    return TorchPolicy(policy, schema, json.loads((folder / STATISTICS).read_text()))


def _build(folder: Path) -> PreTrainedPolicy:
    from lerobot.configs import PreTrainedConfig

    from robolearn.policies.flow.modeling_flow import FlowPolicy

    kind = json.loads((folder / CONFIG).read_text()).get("type")
    if kind != FlowPolicy.name:
        raise UserError(
            f"{folder} holds a checkpoint of policy '{kind}', not of '{FlowPolicy.name}': give another folder"
        )
    return FlowPolicy(PreTrainedConfig.from_pretrained(folder))


def _require_same_channels(config: Any, schema: Schema, folder: Path) -> None:
    named = {**config.input_features, **config.output_features}
    expected = {key: tuple(schema[key].shape) for key in (*schema.observation_keys, "action")}
    found = {key: tuple(feature.shape) for key, feature in named.items()}
    for key in expected | found:
        if expected.get(key) != found.get(key):
            raise UserError(
                f"channel '{key}' has shape {found.get(key)} in {CONFIG} but {expected.get(key)} in {SCHEMA}: "
                f"the files of {folder} are of different policies"
            )


def _load_weights(policy: PreTrainedPolicy, path: Path) -> None:
    from safetensors.torch import load_file

    tensors, own = load_file(path), policy.state_dict()
    for name in own.keys() | tensors.keys():
        if name not in own or name not in tensors or own[name].shape != tensors[name].shape:
            there, here = (tuple(d[name].shape) if name in d else "absent" for d in (tensors, own))
            raise UserError(
                f"{path} is a checkpoint of another policy: '{name}' is {there} there but {here} by config.json; "
                "give the folder that training wrote"
            )
    policy.load_state_dict(tensors)


def _plain(statistics: Statistics) -> dict[str, dict[str, Any]]:
    return {k: {name: np.asarray(v).tolist() for name, v in s.items()} for k, s in statistics.items()}
