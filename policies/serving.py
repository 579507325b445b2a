"""A trained policy behind the project's contract: NumPy arrays in physical units in and out."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robolearn.errors import UserError, nearest
from robolearn.language import instructions_of
from robolearn.networks.files import fill_weights, fresh_folder
from robolearn.normalize import Normalizer, Statistics, plain_statistics
from robolearn.protocols import Observation
from robolearn.sampling import agreed_steps
from robolearn.schema import ActionChunk, Schema

if TYPE_CHECKING:
    from lerobot.policies.pretrained import PreTrainedPolicy

WEIGHTS, CONFIG, SCHEMA, STATISTICS = "model.safetensors", "config.json", "schema.json", "stats.json"
PREPROCESSOR = "policy_preprocessor.json"  # LeRobot's
# where the class of each type of checkpoint lives; imported when one is loaded
POLICIES = {
    "robolearn_diffusion": ("robolearn.policies.diffusion.modeling_diffusion", "DiffusionPolicy"),
    "robolearn_flow": ("robolearn.policies.flow.modeling_flow", "FlowPolicy"),
    "robolearn_vla": ("robolearn.policies.vla.modeling_vla", "VLAPolicy"),
}


class TorchPolicy:
    """Satisfies `robolearn.protocols.Policy` with a LeRobot-style policy that works on normalised tensors."""

    reads_task = False

    def __init__(self, policy: Any, schema: Schema, statistics: Statistics) -> None:
        """Serve `policy`.

        Args:
            policy: a module with `predict_action_chunk(batch, noise=, num_samples=)`, `noise_shape`, `sampler`, `name`
                and a config with `n_obs_steps`, `horizon`, `n_action_steps`; if the config has a `consensus`, also
                `predict_horizons` of the same face; if it `reads_task`, also `encode_task(instructions)`, which gives
                {key: array} to add to a batch.
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
        self.noise_shape: tuple[int, ...] | None = policy.noise_shape
        self.consensus: dict[str, Any] | None = getattr(config, "consensus", None)
        self.reads_task = getattr(policy, "reads_task", False)
        self._low = np.array(self.schema.action.low, np.float32)
        self._high = np.array(self.schema.action.high, np.float32)

    @torch.inference_mode()
    def predict_chunk(
        self, observation: Observation, noise: NDArray[np.float32] | None = None, n_samples: int = 1
    ) -> ActionChunk:
        """See `robolearn.protocols.Policy.predict_chunk`; t0 = 0 is the moment of the newest frame."""
        batch = self.prepare(observation)
        start = None if noise is None else torch.from_numpy(np.asarray(noise, np.float32)).to(self.device)
        if self.consensus is None:
            chunk, n_valid = self.policy.predict_action_chunk(batch, noise=start, num_samples=n_samples), None
        else:
            chunks = self.policy.predict_horizons(batch, noise=start, num_samples=n_samples)
            chunk, n_valid = chunks[0], agreed_steps(chunks.cpu().numpy(), **self.consensus)
        values = self.physical(chunk).clip(self._low, self._high)
        return ActionChunk(values, t0=0.0, dt=1.0 / self.schema.fps, n_valid=n_valid)

    def prepare(self, observation: Observation) -> dict[str, Tensor]:
        """Return the channels, and what was made of the instruction, as the network reads them."""
        normal = self.normalizer.observation(observation)
        if self.reads_task:
            normal |= self.policy.encode_task(instructions_of(observation))
        return {key: torch.from_numpy(values).to(self.device) for key, values in normal.items()}

    def physical(self, chunk: Tensor) -> NDArray[np.float32]:
        """Return a chunk of the network in physical units."""
        return self.normalizer["action"].inverse(chunk.cpu().numpy())

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.policy.parameters()).device

    def graphs(self) -> tuple[nn.Module, nn.Module | None]:
        """Return what `robolearn.export.bundle.export_bundle` exports: encoder and denoiser, or the whole and None."""
        from robolearn.policies.graph import DenoiserGraph, EncoderGraph

        return EncoderGraph(self.policy), DenoiserGraph(self.policy)

    def write(self, folder: Path) -> None:
        """Write model.safetensors, config.json (LeRobot's `save_pretrained`), schema.json and stats.json.

        LeRobot's commands also find the processors that they need.
        """
        from robolearn.policies.lerobot_processors import lerobot_statistics, make_pipelines

        self.policy.save_pretrained(folder)
        for pipeline in make_pipelines(self.policy.config, lerobot_statistics(self.schema, self.statistics)):
            pipeline.save_pretrained(folder)
        self.schema.save(folder / SCHEMA)
        (folder / STATISTICS).write_text(json.dumps(plain_statistics(self.statistics), indent=2) + "\n")

    def describe(self) -> dict[str, Any]:
        """Return what a bundle's reader must know besides the graphs; see `robolearn.export.bundle`."""
        return {
            "kind": self.policy.name,
            "horizon": self.horizon,
            "n_action_steps": self.n_action_steps,
            "n_obs_steps": self.n_obs_steps,
            "noise_shape": list(self.noise_shape or ()),
            "sampler": self.policy.sampler,
            "horizons": list(getattr(self.policy.config, "horizons", ())),
            "consensus": self.consensus,
            "language": self.policy.language if self.reads_task else None,
        }


def save_policy(folder: Path, policy: TorchPolicy) -> None:
    """Write what `TorchPolicy.write` does; the folder appears whole or not at all."""
    with fresh_folder(folder) as fresh:
        policy.write(fresh)


def is_lerobot_folder(folder: Path) -> bool:
    """Whether a folder is a `pretrained_model` of LeRobot's trainer, which keeps no statistics but its processors'."""
    return (folder / PREPROCESSOR).exists() and not (folder / STATISTICS).exists()


def load_policy(folder: Path, schema: Schema | None = None) -> TorchPolicy:
    """Read what `save_policy` or LeRobot's trainer wrote.

    Args:
        folder: of the policy.
        schema: channels of the data that LeRobot trained on, where its folder has no schema.json.

    Raises:
        UserError: a file is missing, or the checkpoint is of another policy; the message names what differs.
    """
    folder = Path(folder)
    if is_lerobot_folder(folder):
        return _load_lerobot_policy(folder, schema)
    for name in (CONFIG, WEIGHTS, SCHEMA, STATISTICS):
        if not (folder / name).exists():
            raise UserError(f"{folder} is not a policy folder, for it lacks {name}: give a folder that training wrote")
    policy = _build(folder)
    schema = Schema.load(folder / SCHEMA)
    _require_same_channels(policy.config, schema, folder)
    load_weights(policy, folder / WEIGHTS)
    return TorchPolicy(policy, schema, json.loads((folder / STATISTICS).read_text()))


def _load_lerobot_policy(folder: Path, schema: Schema | None) -> TorchPolicy:
    from robolearn.policies.lerobot_adapter.checkpoint import load_lerobot_policy

    own = folder / SCHEMA
    known = Schema.load(own) if own.exists() else schema
    if known is None:
        raise UserError(
            f"{folder} does not say which channels it was trained on: copy meta/robolearn_schema.json of the dataset "
            f"there, as {SCHEMA}"
        )
    return load_lerobot_policy(folder, known)


def _build(folder: Path) -> PreTrainedPolicy:
    from lerobot.configs import PreTrainedConfig

    kind = json.loads((folder / CONFIG).read_text()).get("type")
    if kind not in POLICIES:
        raise UserError(f"{folder} holds a checkpoint of policy '{kind}'{nearest(str(kind), POLICIES)}")
    module, name = POLICIES[kind]
    policy = getattr(importlib.import_module(module), name)  # registers the configuration too
    return policy(PreTrainedConfig.from_pretrained(folder))


def _require_same_channels(config: Any, schema: Schema, folder: Path) -> None:
    expected = {key: tuple(schema[key].shape) for key in (*schema.observation_keys, "action")}
    found = {**config.observation_shapes, "action": (config.action_dim,)}
    for key in expected | found:
        if expected.get(key) != found.get(key):
            raise UserError(
                f"channel '{key}' has shape {found.get(key)} in {CONFIG} but {expected.get(key)} in {SCHEMA}: "
                f"the files of {folder} are of different policies"
            )


def load_weights(policy: PreTrainedPolicy, path: Path) -> None:
    """Fill a policy with the weights of a file.

    Raises:
        UserError: they are of another policy; the message names the first tensor that differs.
    """
    from safetensors.torch import load_file

    fill_weights(policy, load_file(path), path)
