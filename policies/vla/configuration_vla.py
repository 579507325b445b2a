"""Configuration of the compact vision-language-action policy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

from lerobot.configs import PreTrainedConfig

from robolearn.errors import UserError
from robolearn.language import Tokenizer
from robolearn.policies.flow.configuration_flow import FlowConfig
from robolearn.proprioception import GOAL
from robolearn.schema import Schema


@PreTrainedConfig.register_subclass("robolearn_vla")
@dataclass
class VLAConfig(FlowConfig):
    """Flow matching over action chunks, told what to do in words.

    Attributes:
        max_words: words of an instruction that are read.
        max_pieces: ids of a word: its own, then those of its character n-grams.
        buckets: number of ids.
        ngram: characters of an n-gram.
        language_dim: width of the sentence encoder and of what it gives.
        language_blocks: its transformer blocks.
        language_heads: its attention heads.
        state_dim: width of the features of the numbers that the instruction moves.
        word_dropout: share of the words that are left out in training.
        piece_dropout: share of their ids that are left out in training, so that no word hangs on one of them.
        unread: components of channels that are not read. `from_schema` names those that say what is asked for: the
            policy is to take it from the instruction.
    """

    max_words: int = 24
    max_pieces: int = 12
    buckets: int = 2048
    ngram: int = 3
    language_dim: int = 64
    language_blocks: int = 2
    language_heads: int = 4
    state_dim: int = 256
    word_dropout: float = 0.05
    piece_dropout: float = 0.1
    unread: dict[str, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UserError: a value makes no sense; the message says which would.
        """
        super().__post_init__()
        Tokenizer(**self.language)
        for name in ("language_dim", "language_blocks", "language_heads", "state_dim"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}: it must be at least 1")
        if self.language_dim % self.language_heads:
            raise UserError(
                f"language_dim is {self.language_dim}: it must be a multiple of language_heads ({self.language_heads})"
            )
        for name in ("word_dropout", "piece_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}: it must be at least 0 and below 1")

    @classmethod
    def from_schema(cls, schema: Schema, **settings: Any) -> Self:
        """See `ChunkConfig.from_schema`."""
        goals = {
            key: [i for i, name in enumerate(schema[key].names) if name.startswith(GOAL)]
            for key in schema.observation_keys
        }
        return super().from_schema(schema, **{"unread": {k: found for k, found in goals.items() if found}, **settings})

    @property
    def language(self) -> dict[str, int]:
        """Parameters of the tokeniser, `robolearn.language.Tokenizer`."""
        return {name: getattr(self, name) for name in ("max_words", "max_pieces", "buckets", "ngram")}

    def validate_features(self) -> None:
        """See `ChunkConfig.validate_features`; some channel must hold numbers.

        Raises:
            UserError: naming the channel.
        """
        super().validate_features()
        if not any(len(shape) == 1 for shape in self.observation_shapes.values()):
            raise UserError(
                f"policy {self.type} needs a channel of numbers, such as observation.state, besides pictures"
            )
