"""Fine-tuning of LeRobot's vision-language-action policies: all weights, the action expert's, or low-rank adapters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import torch
from lerobot.configs import FeatureType, PolicyFeature
from torch import Tensor, nn

from robolearn.errors import UserError
from robolearn.normalize import Statistics
from robolearn.policies.lerobot_adapter.checkpoint import load_pipelines, read_config
from robolearn.policies.lerobot_adapter.lora import add_lora
from robolearn.policies.lerobot_adapter.vla import VlaChunks, VlaPolicy, prepare
from robolearn.policies.lerobot_adapter.vla_files import (
    VLAS,
    build_vla,
    find_vlm,
    load_vla_weights,
    policy_snapshot,
)
from robolearn.policies.losses import reduced
from robolearn.policies.serving import WEIGHTS
from robolearn.schema import Schema

STATE, ACTION = "observation.state", "action"


class Demonstrations(Protocol):
    """What is read of a `robolearn.data.dataset.EpisodeDataset`."""

    @property
    def statistics(self) -> Statistics:
        """Return those of the channels, also the quantiles that LeRobot normalises by."""

    @property
    def instructions(self) -> Sequence[str]:
        """Return all of them; a batch's "task_index" is the place here."""


class FinetunedVla(nn.Module):
    """Satisfies `robolearn.train.trainer.Trainable`.

    It has the parameters that learn and no others: the trainer's checkpoints and moving average leave the frozen ones
    out, which are most.
    """

    reads_task = True
    takes_physical_units = True  # LeRobot's processors normalise

    def __init__(self, served: VlaPolicy, instructions: Sequence[str]) -> None:
        """Train the policy that `served` serves, as it is."""
        super().__init__()
        self._served = served
        self._instructions = tuple(instructions)
        self._source = (served.policy,)  # in a tuple, so that it is no child and its parameters are not this module's
        for name, parameter in self.source.named_parameters():
            if parameter.requires_grad:
                self.register_parameter(name.replace(".", "/"), parameter)

    @property
    def source(self) -> VlaChunks:
        """The whole policy, frozen parameters included."""
        return self._source[0]

    def served(self) -> VlaPolicy:
        """Return the policy as it is at any moment."""
        self.eval()
        return self._served

    def get_optim_params(self) -> list[nn.Parameter]:
        """Return the parameters that learn."""
        return list(self.parameters())

    def forward(
        self,
        batch: Mapping[str, Tensor],
        reduction: str = "mean",
        *,
        noise: Tensor | None = None,
        time: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the loss; see `robolearn.policies.chunk_policy.ChunkPolicy.forward`.

        Args:
            batch: in physical units: observations [B, n_obs_steps, ...], "action" [B, horizon, action_dim],
                "task_index" [B] and, optionally, "action_is_pad" [B, horizon].
            reduction: "mean", or "none" for one loss per sample [B], whose mean is the former.
            noise: [B, horizon, max_action_dim]; drawn when None.
            time: [B] in (0, 1], 1 is noise; drawn when None.
        """
        frames = {key: batch[key] for key in (*self._served.schema.observation_keys, ACTION)}
        tasks = [self._instructions[k] for k in batch["task_index"].tolist()]
        prepared = prepare(self._served.pipelines, frames, tasks, device=batch[ACTION].device)
        error = self.source.errors(prepared, noise=noise, time=time).mean(dim=2)
        loss = reduced(error, batch.get("action_is_pad"), reduction)
        return loss, {"loss": float(loss.detach().mean())}

    def train(self, mode: bool = True) -> Self:
        """Set the mode of the whole policy; what LeRobot keeps in evaluation mode stays there."""
        self.training = mode
        self.source.train(mode)
        return self

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile the network, but not what normalises and tokenises."""
        model = self.source.policy.model
        model.forward = torch.compile(model.forward, *args, **kwargs)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Self:
        whole: nn.Module = self.source
        whole._apply(fn, recurse)  # its parameters are those of this module
        return self


def build(
    schema: Schema,
    data: Demonstrations,
    *,
    pretrained: str,
    vlm: str | None,
    horizon: int,
    n_action_steps: int,
    n_obs_steps: int,
    train_expert_only: bool,
    freeze_vision_encoder: bool,
    lora_rank: int | None,
    lora_alpha: int,
) -> FinetunedVla:
    """Load a policy and prepare it for other channels, other data and training.

    Args:
        schema: channels of the data; the policy reads `observation.state` and all pictures.
        data: has their statistics, and the instructions.
        pretrained: folder of the policy, or its name on the hub.
        vlm: folder of its tokeniser; None looks where `robolearn.policies.lerobot_adapter.vla_files.find_vlm` says.
        horizon: actions in a chunk; need not be what it was.
        n_action_steps: actions executed before re-planning.
        n_obs_steps: must be 1.
        train_expert_only: freeze the vision-language model.
        freeze_vision_encoder: freeze its vision encoder.
        lora_rank: rank of adapters in the action expert's attention and the projections, all else frozen; None trains
            the weights themselves.
        lora_alpha: the adapters count alpha / rank.

    Raises:
        UserError: the policy cannot be had, or does not fit the data.
    """
    folder = policy_snapshot(pretrained)
    config = read_config(folder)
    if config.type not in VLAS:
        raise UserError(f"{folder} holds a policy of type '{config.type}': only {', '.join(VLAS)} are fine-tuned so")
    if n_obs_steps != 1 or n_action_steps > horizon:
        raise UserError(
            f"policy.n_obs_steps={n_obs_steps} and n_action_steps={n_action_steps} do not fit a {config.type} policy: "
            f"it reads 1 frame and predicts policy.horizon={horizon} actions"
        )
    config.chunk_size, config.n_action_steps = horizon, n_action_steps
    config.train_expert_only, config.freeze_vision_encoder = train_expert_only, freeze_vision_encoder
    own = _adapt(config, schema, folder)
    place = find_vlm(folder, config, vlm)
    policy = build_vla(config, place)
    load_vla_weights(policy, folder / WEIGHTS)
    _choose_parameters(policy, lora_rank=lora_rank, lora_alpha=lora_alpha)
    statistics = {
        key: {name: np.asarray(value, np.float32) for name, value in data.statistics[key].items()}
        for key in (STATE, ACTION)
    }
    pipelines = load_pipelines(folder, config, vlm=place, statistics=statistics)
    return FinetunedVla(VlaPolicy(VlaChunks(policy), own, pipelines, place), data.instructions)


def _adapt(config: Any, schema: Schema, folder: Path) -> Schema:
    """Let a policy's configuration have the channels of the data; return those that it reads, and the action."""
    cameras = [key for key in schema.observation_keys if len(schema[key].shape) == 3]
    if STATE not in schema or not cameras:
        missing = "pictures: collect with env.cameras=[external,wrist]" if STATE in schema else f"'{STATE}'"
        raise UserError(f"a {config.type} policy reads pictures and '{STATE}'; the dataset has no {missing}")
    for key, limit in ((STATE, config.max_state_dim), (ACTION, config.max_action_dim)):
        if schema[key].shape[0] > limit:
            raise UserError(
                f"'{key}' has {schema[key].shape[0]} components, the policy in {folder} takes at most {limit}: "
                "choose another robot or action space"
            )
    pictures = {key: (schema[key].shape[2], *schema[key].shape[:2]) for key in cameras}
    config.input_features = {
        STATE: PolicyFeature(FeatureType.STATE, schema[STATE].shape),
        **{key: PolicyFeature(FeatureType.VISUAL, shape) for key, shape in pictures.items()},
    }
    config.output_features = {ACTION: PolicyFeature(FeatureType.ACTION, schema[ACTION].shape)}
    config.empty_cameras = 0
    if hasattr(config, "adapt_to_pi_aloha"):
        config.adapt_to_pi_aloha = False
    if hasattr(config, "dtype"):
        config.dtype = "float32"  # the trainer's precision decides what is computed in short types
    config.push_to_hub, config.pretrained_path, config.use_peft = False, None, False
    return schema.select([STATE, *cameras, ACTION])


def _choose_parameters(policy: Any, *, lora_rank: int | None, lora_alpha: int) -> None:
    """Freeze what does not learn; LeRobot has frozen what its configuration says."""
    if lora_rank is not None:
        add_lora(policy, rank=lora_rank, alpha=lora_alpha)
        return
    for name, parameter in policy.named_parameters():
        if "lm_head" in name:  # predicts words, of which there are none to learn from
            parameter.requires_grad_(False)
