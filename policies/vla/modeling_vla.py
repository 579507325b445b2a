"""A compact vision-language-action policy, trained from scratch: instruction, pictures and state to action chunks.

Flow matching as in `robolearn.policies.flow`. The instruction is hashed into ids (`robolearn.language`), encoded by a
small transformer, and conditions the picture networks, the features of the state and the network of the flow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from robolearn.errors import UserError
from robolearn.language import TOKENS, Tokenizer
from robolearn.networks.language import SentenceEncoder, without_padding, without_some
from robolearn.policies.flow.modeling_flow import FlowPolicy
from robolearn.policies.language import InstructedEncoder
from robolearn.policies.vla.configuration_vla import VLAConfig
from robolearn.schema import Schema


class VLAPolicy(FlowPolicy):
    """LeRobot policy `robolearn_vla`."""

    config_class = VLAConfig
    name = "robolearn_vla"
    reads_task = True
    config: VLAConfig

    def build_encoder(self) -> InstructedEncoder:
        """See `ChunkPolicy.build_encoder`."""
        config = self.config
        sentence = SentenceEncoder(
            buckets=config.buckets,
            max_words=config.max_words,
            dim=config.language_dim,
            num_blocks=config.language_blocks,
            num_heads=config.language_heads,
        )
        return InstructedEncoder(
            config.observation_shapes,
            sentence,
            n_obs_steps=config.n_obs_steps,
            vision=config.vision,
            vision_dim=config.vision_dim,
            crop_ratio=config.crop_ratio,
            sentence_dim=config.language_dim,
            state_dim=config.state_dim,
            unread=config.unread,
        )

    @property
    def language(self) -> dict[str, int]:
        """Parameters of the tokeniser."""
        return self.config.language

    def encode_task(self, instructions: Iterable[str]) -> dict[str, NDArray[np.int64]]:
        """Return what a batch needs for these instructions: their ids, under LeRobot's key."""
        return {TOKENS: Tokenizer(**self.language)(instructions)}

    def encoder_inputs(self, batch: Mapping[str, Tensor]) -> list[Tensor]:
        """Return the observations, then the ids [B, words, pieces]; some are left out in training.

        Raises:
            UserError: a channel or the ids are missing.
        """
        if TOKENS not in batch:
            raise UserError(
                f"the batch lacks '{TOKENS}': give it what the policy's `encode_task` makes of instructions"
            )
        ids = batch[TOKENS]
        if self.training:
            ids = without_some(without_padding(ids), words=self.config.word_dropout, pieces=self.config.piece_dropout)
        return [*super().encoder_inputs(batch), ids]


def build(schema: Schema, **settings: Any) -> VLAPolicy:
    """Return an untrained policy for these channels; `settings` are fields of `VLAConfig`."""
    return VLAPolicy(VLAConfig.from_schema(schema, **settings))
