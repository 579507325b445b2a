"""What all policies that sample action chunks have in common: loss, sampling, history and action queue.

A policy of this kind says what a training example looks like (`example`) and which sampler draws from its network
(`sampler`). All tensors are normalised but for pictures; (un)normalisation happens outside.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from lerobot.policies.pretrained import PreTrainedPolicy
from lerobot.policies.rtc.configuration_rtc import RTCConfig
from lerobot.policies.rtc.modeling_rtc import RTCProcessor
from torch import Tensor, nn

from robolearn.errors import UserError
from robolearn.networks.encoders import ObservationEncoder
from robolearn.policies.backbones.dit import DiT
from robolearn.policies.backbones.mixture import HorizonMixture
from robolearn.policies.backbones.mlp import ResidualMLP
from robolearn.policies.backbones.unet import UNet
from robolearn.policies.chunk_config import ChunkConfig
from robolearn.policies.guidance import Previous
from robolearn.policies.losses import reduced
from robolearn.sampling import Model, sample

Backbone = ResidualMLP | UNet | DiT


class Example(NamedTuple):
    """What the network is asked and what it should answer.

    Attributes:
        sample: noisy chunk [B, horizon, action_dim].
        time: [B] in [0, 1].
        target: [B, horizon, action_dim].
        step: [B] the sampler's step size, for networks that know it.
    """

    sample: Tensor
    time: Tensor
    target: Tensor
    step: Tensor | None = None


class ChunkPolicy(PreTrainedPolicy):
    """Base of the policies; see `ChunkConfig`."""

    config_class = ChunkConfig
    name = "robolearn_chunk"

    def __init__(self, config: ChunkConfig, **_: Any) -> None:
        """Build the policy; LeRobot passes further arguments, such as the dataset's metadata, that it does not need."""
        super().__init__(config)
        config.validate_features()
        self.config: ChunkConfig = config
        self.encoder = self.build_encoder()
        self.network = build_backbone(config, observed_dim=self.encoder.width, with_step=self.knows_step)
        self.init_rtc_processor()
        self.reset()

    # -------------------------------------------------------------------------------- what each policy says

    @property
    @abstractmethod
    def sampler(self) -> dict[str, Any]:
        """Description of the sampler; see `robolearn.sampling.sample`."""

    @abstractmethod
    def example(self, action: Tensor, observed: Tensor, *, noise: Tensor, time: Tensor | None) -> Example:
        """Make training examples.

        Args:
            action: demonstrated chunks [B, horizon, action_dim].
            observed: embedded observations [B, ...].
            noise: [B, horizon, action_dim].
            time: [B], drawn when None.
        """

    @abstractmethod
    def sample_guided(self, model: Model, noise: Tensor, previous: Previous) -> Tensor:
        """Run the sampler with its model drawn towards the rest of the chunk before."""

    def build_encoder(self) -> ObservationEncoder:
        """Return the module that encodes what `encoder_inputs` gives."""
        config = self.config
        return ObservationEncoder(
            config.observation_shapes,
            n_obs_steps=config.n_obs_steps,
            vision=config.vision,
            vision_dim=config.vision_dim,
            crop_ratio=config.crop_ratio,
        )

    @property
    def knows_step(self) -> bool:
        """Whether the network is told the sampler's step size."""
        return False

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """Shape of a sample's starting noise."""
        return (self.config.horizon, self.config.action_dim)

    # -------------------------------------------------------------------------------- training

    def get_optim_params(self) -> list[nn.Parameter]:
        """Return the parameters to optimise."""
        return list(self.parameters())

    def forward(
        self,
        batch: Mapping[str, Tensor],
        reduction: str = "mean",
        *,
        noise: Tensor | None = None,
        time: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the loss.

        Args:
            batch: observations [B, n_obs_steps, ...], "action" [B, horizon, action_dim] and, optionally,
                "action_is_pad" [B, horizon], true where an action is only repeated.
            reduction: "mean", or "none" for one loss per sample [B], whose mean is the former.
            noise: [B, horizon, action_dim]; drawn when None.
            time: [B] in [0, 1]; drawn when None.

        Returns:
            The loss, and figures to log. Every unpadded action weighs the same.
        """
        action = batch["action"]
        noise = torch.randn_like(action) if noise is None else noise
        observed = self.observe(batch)
        error, extra = self._errors(self.example(action, observed, noise=noise, time=time), observed)
        loss = reduced(error, batch.get("action_is_pad"), reduction)
        if extra is not None:
            loss = loss + extra
        return loss, {"loss": float(loss.detach().mean())}

    def _errors(self, example: Example, observed: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the error of each action [B, horizon] and what is added to the mean, if anything."""
        inputs = (example.sample, example.time, observed, example.step)
        if isinstance(self.network, HorizonMixture):
            mixed = self.network.mix(*inputs)
            fused, each = self.network.errors(mixed, example.target)
            balance = self.config.balance_weight * self.network.imbalance(mixed.weights)
            return fused + self.config.individual_weight * each, balance
        return (self.network(*inputs) - example.target).square().mean(dim=2), None

    # -------------------------------------------------------------------------------- inference

    def observe(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Embed observations; see `encoder_inputs`. Once per chunk."""
        return self.network.observe(self.encoder(self.encoder_inputs(batch)))

    def encoder_inputs(self, batch: Mapping[str, Tensor]) -> list[Tensor]:
        """Return what the encoder reads of a batch: observations [B, n_obs_steps, ...].

        A history of one frame may lack its axis.

        Raises:
            UserError: a channel is missing, or has another number of frames.
        """
        if missing := [key for key in self.config.observation_keys if key not in batch]:
            raise UserError(
                f"the batch lacks channel '{missing[0]}', which the policy reads: use a dataset that has it"
            )
        frames = []
        for key, shape in self.config.observation_shapes.items():
            history = batch[key] if batch[key].ndim > 1 + len(shape) else batch[key][:, None]
            if history.shape[1] != self.config.n_obs_steps:
                raise UserError(
                    f"channel '{key}' has {history.shape[1]} frames of history, the policy reads "
                    f"{self.config.n_obs_steps}: LeRobot's real-time engine gives one, its other one all"
                )
            frames.append(history)
        return frames

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
        """Sample chunks.

        Args:
            batch: observations [B, n_obs_steps, ...].
            noise: [B * num_samples, horizon, action_dim], the samples of one observation together; drawn when None.
            num_samples: chunks per observation.
            inference_delay: actions of the chunk before that will have been executed when this one is ready.
            prev_chunk_left_over: what is left of the chunk before, [B, steps, action_dim] or [steps, action_dim]:
                the new chunk begins with its first `inference_delay` actions and is drawn towards the others
                (real-time chunking, Black et al. 2025).
            execution_horizon: how far it is drawn; the processor's configuration says when None.

        Returns:
            [B, horizon, action_dim], or [B, num_samples, horizon, action_dim] when `num_samples > 1`.
        """
        previous = None
        if prev_chunk_left_over is not None and self.rtc_processor is not None:
            previous = Previous.of(
                prev_chunk_left_over,
                batch=len(batch[self.config.observation_keys[0]]),
                num_samples=num_samples,
                delay=inference_delay or 0,
                execution_horizon=execution_horizon,
                processor=self.rtc_processor,
            )
        chunk = self._sample(batch, noise, num_samples, previous)[0]
        if previous is not None:
            chunk = previous.keep_frozen(chunk)
        return chunk if num_samples == 1 else chunk.unflatten(0, (-1, num_samples))

    @torch.no_grad()
    def predict_horizons(
        self, batch: Mapping[str, Tensor], noise: Tensor | None = None, num_samples: int = 1
    ) -> Tensor:
        """Sample like `predict_action_chunk` and return the fused chunk and each horizon's, in a leading axis [1 + N].

        A horizon's chunk is what its own predictions along the fused chunk's way add up to.
        """
        chunks = self._sample(batch, noise, num_samples, None)
        return chunks if num_samples == 1 else chunks.unflatten(1, (-1, num_samples))

    def _sample(
        self, batch: Mapping[str, Tensor], noise: Tensor | None, num_samples: int, previous: Previous | None
    ) -> Tensor:
        """Return chunks [1, B * num_samples, horizon, action_dim], or [1 + N, ...] of a mixture that is not guided."""
        observed = self.observe(batch).repeat_interleave(num_samples, dim=0)
        shape = (len(observed), self.config.horizon, self.config.action_dim)
        if noise is None:
            noise = torch.randn(shape, device=observed.device)
        elif noise.shape != shape:
            raise ValueError(f"noise has shape {tuple(noise.shape)}, expected {shape}")

        def model(x: Tensor, *scalars: float) -> Tensor:
            time, *step = (torch.full((len(observed),), value, device=x.device) for value in scalars)
            prediction: Tensor = self.network(x, time, observed, *step)
            return prediction

        if previous is not None:
            fused = (lambda x, *t: model(x, *t)[0]) if self.config.horizons else model
            return self.sample_guided(fused, noise, previous)[None]
        if self.config.horizons:
            start = noise.expand(1 + len(self.config.horizons), *shape)
            return sample(lambda x, *t: model(x[0], *t), start, self.sampler)
        return sample(model, noise, self.sampler)[None]

    # -------------------------------------------------------------------------------- one action at a time

    def reset(self) -> None:
        """Forget history and queued actions of `select_action`."""
        self._history: dict[str, deque[Tensor]] = {}
        self._queue: deque[Tensor] = deque()

    @torch.no_grad()
    def select_action(self, batch: Mapping[str, Tensor], noise: Tensor | None = None, **_: Any) -> Tensor:
        """Take the newest frame [B, ...] of each observation and return the action [B, action_dim] to execute."""
        for key in self.config.observation_keys:
            # an episode begins with its first frame repeated
            past = self._history.setdefault(key, deque([batch[key]] * self.config.n_obs_steps))
            past.append(batch[key])
            past.popleft()
        if not self._queue:
            stacked = {key: torch.stack(tuple(past), dim=1) for key, past in self._history.items()}
            chunk = self.predict_action_chunk({**batch, **stacked}, noise=noise)
            self._queue.extend(chunk[:, : self.config.n_action_steps].unbind(dim=1))
        return self._queue.popleft()

    # -------------------------------------------------------------------------------- LeRobot's real-time chunking

    def supports_rtc(self) -> bool:
        """Tell LeRobot's rollout that `predict_action_chunk` takes the rest of the chunk before."""
        return True

    def init_rtc_processor(self) -> None:
        """Follow `config.rtc_config`, which LeRobot's rollout sets after loading.

        The guidance's largest weight is cut to the number of steps: beyond it, one step would overshoot.
        """
        config = RTCConfig() if self.config.rtc_config is None else self.config.rtc_config
        weight = min(config.max_guidance_weight, float(self.config.num_inference_steps))
        self.rtc_processor = RTCProcessor(replace(config, max_guidance_weight=weight)) if config.enabled else None


def build_backbone(config: ChunkConfig, *, observed_dim: int, with_step: bool) -> Backbone:
    """Return the network of a configuration, for encoded observations of this width."""
    sizes: dict[str, Any] = {"observed_dim": observed_dim, "action_dim": config.action_dim, "with_step": with_step}
    if config.backbone == "unet":
        return UNet(
            **sizes,
            down_dims=config.down_dims,
            kernel_size=config.kernel_size,
            n_groups=config.n_groups,
            time_dim=config.diffusion_step_embed_dim,
            scale=config.use_film_scale_modulation,
        )
    sizes |= {"horizon": config.horizon, "hidden_dim": config.hidden_dim, "num_blocks": config.num_blocks}
    if config.backbone == "mlp":
        return ResidualMLP(**sizes, condition_dim=config.condition_dim)
    if config.horizons:
        return HorizonMixture(**sizes, num_heads=config.num_heads, horizons=config.horizons)
    return DiT(**sizes, num_heads=config.num_heads)
