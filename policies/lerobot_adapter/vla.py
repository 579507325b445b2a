"""LeRobot's vision-language-action policies, `smolvla`, `pi0` and `pi05`, behind the project's contract."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lerobot.policies.rtc.configuration_rtc import RTCConfig
from lerobot.processor import DeviceProcessorStep
from lerobot.utils.constants import ACTION, OBS_LANGUAGE_ATTENTION_MASK, OBS_LANGUAGE_TOKENS
from torch import Tensor, nn

from robolearn.errors import UserError
from robolearn.language import TASK, instructions_of
from robolearn.policies.guidance import Previous
from robolearn.policies.lerobot_adapter.graphs import as_lerobot
from robolearn.policies.lerobot_adapter.lora import merged_state
from robolearn.policies.lerobot_adapter.policy import LeRobotPolicy
from robolearn.policies.lerobot_adapter.sources import Shape
from robolearn.policies.lerobot_adapter.vla_files import copy_vlm
from robolearn.policies.lerobot_processors import Pipelines
from robolearn.policies.serving import SCHEMA
from robolearn.protocols import Observation
from robolearn.schema import Schema


class VlaChunks(nn.Module):
    """What `robolearn.policies.serving.TorchPolicy` serves of such a policy; the sampler stays inside.

    The noise is as wide as the network, whatever the action: [horizon, max_action_dim].
    """

    reads_task = True
    sampler = None
    past = 0

    def __init__(self, policy: Any) -> None:
        """Share the policy's weights."""
        super().__init__()
        self.policy = policy
        self.name = f"lerobot_{policy.name}"
        config = policy.config
        self.config = Shape(1, config.chunk_size, config.n_action_steps)
        self.noise_shape = (config.chunk_size, config.max_action_dim)

    def errors(self, batch: dict[str, Tensor], *, noise: Tensor | None = None, time: Tensor | None = None) -> Tensor:
        """Return the squared error of the flow's velocity, LeRobot's loss before any mean.

        Args:
            batch: prepared observations [B, ...] and "action" [B, horizon, action_dim], normalised.
            noise: [B, *noise_shape]; drawn when None.
            time: [B] in (0, 1], 1 is noise; drawn as LeRobot does when None.

        Returns:
            [B, horizon, action_dim].
        """
        policy = self.policy
        action = policy.prepare_action(batch)  # as wide as the network
        noise = torch.randn_like(action) if noise is None else noise
        time = policy.model.sample_time(len(action), action.device) if time is None else time
        pictures = policy.prepare_images if policy.name == "smolvla" else policy._preprocess_images
        tokens = (batch[OBS_LANGUAGE_TOKENS], batch[OBS_LANGUAGE_ATTENTION_MASK])
        state = () if policy.name == "pi05" else (policy.prepare_state(batch),)  # pi05 has it among the tokens
        error: Tensor = policy.model.forward(*pictures(batch), *tokens, *state, action, noise, time)
        return error[..., : batch[ACTION].shape[-1]]

    @torch.no_grad()
    def predict_action_chunk(
        self,
        batch: Mapping[str, Tensor],
        noise: Tensor | None = None,
        num_samples: int = 1,
        *,
        inference_delay: int | None = None,
        prev_chunk_left_over: Tensor | None = None,
        execution_horizon: int | None = None,
        **_: Any,
    ) -> Tensor:
        """Sample chunks as `robolearn.policies.chunk_policy.ChunkPolicy.predict_action_chunk` does."""
        repeated = {key: values.repeat_interleave(num_samples, dim=0) for key, values in batch.items()}
        if prev_chunk_left_over is None:
            chunk: Tensor = self.policy.predict_action_chunk(repeated, noise=noise)
        else:
            with self._guided():
                previous = Previous.of(
                    prev_chunk_left_over,
                    batch=len(batch[OBS_LANGUAGE_TOKENS]),
                    num_samples=num_samples,
                    delay=inference_delay or 0,
                    execution_horizon=execution_horizon,
                    processor=self.policy.rtc_processor,
                )
                chunk = self.policy.predict_action_chunk(
                    repeated,
                    noise=noise,
                    inference_delay=previous.delay,
                    prev_chunk_left_over=previous.left_over[:, : self.config.horizon],
                    execution_horizon=execution_horizon,
                )
            chunk = previous.keep_frozen(chunk)
        return chunk if num_samples == 1 else chunk.unflatten(0, (-1, num_samples))

    @contextmanager
    def _guided(self) -> Iterator[None]:
        """Turn real-time chunking on; LeRobot's `select_action` refuses to run while it is.

        The guidance's largest weight is cut to the number of steps: beyond it, one step would overshoot.
        """
        config = self.policy.config
        kept = config.rtc_config
        steps = config.num_steps if self.policy.name == "smolvla" else config.num_inference_steps
        rtc = RTCConfig() if kept is None else kept
        config.rtc_config = replace(rtc, enabled=True, max_guidance_weight=min(rtc.max_guidance_weight, float(steps)))
        self.policy.init_rtc_processor()
        try:
            yield
        finally:
            config.rtc_config = kept
            self.policy.init_rtc_processor()


class VlaPolicy(LeRobotPolicy):
    """Serves such a policy."""

    def __init__(self, source: VlaChunks, schema: Schema, pipelines: Pipelines, vlm: Path) -> None:
        """Serve `source`; see `LeRobotPolicy`. `vlm` is the folder with its tokeniser."""
        super().__init__(source, schema, pipelines)
        self.vlm = vlm

    def prepare(self, observation: Observation) -> dict[str, Tensor]:
        """See `TorchPolicy.prepare`."""
        frames = {key: torch.from_numpy(observation[key]) for key in self.schema.observation_keys}
        tasks = [str(said) for said in instructions_of(observation)]
        return prepare(self.pipelines, frames, tasks, device=self.device)

    def graphs(self) -> tuple[nn.Module, nn.Module | None]:
        """Raise: such a policy is not exported."""
        raise UserError(
            f"a {self.policy.policy.name} policy is not exported, for its language model needs torch: serve it with "
            "torch, by `robolearn.policies.serving.load_policy` or LeRobot's `lerobot-rollout`"
        )

    def write(self, folder: Path) -> None:
        """Write what LeRobot's trainer does, adapters merged, with the schema and the tokeniser beside it."""
        policy = self.policy.policy
        policy.save_pretrained(folder, state_dict=merged_state(policy))
        for pipeline in self.pipelines:
            pipeline.save_pretrained(folder)
        self.schema.save(folder / SCHEMA)
        copy_vlm(self.vlm, folder)


def prepare(
    pipelines: Pipelines, frames: Mapping[str, Tensor], tasks: Sequence[str], *, device: torch.device
) -> dict[str, Tensor]:
    """Return a batch as the policy reads it: the newest of the frames, normalised, with the tokens of the instructions.

    Args:
        pipelines: before the policy and after it.
        frames: channels [B, n_obs_steps, ...]; "action" [B, horizon, action_dim] if there is one.
        tasks: an instruction for each.
        device: of the result.
    """
    newest = {key: values if key == ACTION else as_lerobot(values[:, -1]) for key, values in frames.items()}
    for k, step in enumerate(pipelines[0].steps):
        if isinstance(step, DeviceProcessorStep) and step.tensor_device != device:
            pipelines[0].steps[k] = DeviceProcessorStep(str(device))
    prepared = pipelines[0]({**newest, TASK: list(tasks)})
    return {key: values.to(device) for key, values in prepared.items() if isinstance(values, Tensor)}
