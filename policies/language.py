"""An encoder of observations that an instruction conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from robolearn.networks.encoders import ObservationEncoder
from robolearn.networks.film import Film
from robolearn.networks.language import SentenceEncoder


class InstructedEncoder(ObservationEncoder):
    """Encodes observations and an instruction, which says what to look for in them.

    It moves the features of the picture networks, and hidden features of the numbers, by FiLM (Perez et al. 2018), and
    is part of the result too.
    """

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        sentence: SentenceEncoder,
        *,
        n_obs_steps: int,
        vision: str,
        vision_dim: int,
        crop_ratio: float,
        sentence_dim: int,
        state_dim: int,
        unread: Mapping[str, Sequence[int]],
    ) -> None:
        """Build it; see `ObservationEncoder` for what is not said here.

        Args:
            shapes: of one frame of each channel.
            sentence: encodes the instruction.
            n_obs_steps: frames of history.
            vision: one of `VISION`.
            vision_dim: width of an encoded picture.
            crop_ratio: side of the crop that is encoded, as a share of the picture's.
            sentence_dim: what `sentence` gives.
            state_dim: width of the hidden features of the numbers.
            unread: components of channels that are not read.
        """
        super().__init__(
            shapes,
            n_obs_steps=n_obs_steps,
            vision=vision,
            vision_dim=vision_dim,
            crop_ratio=crop_ratio,
            condition_dim=sentence_dim,
        )
        self.sentence = sentence
        self.numbers = tuple(key for key, shape in shapes.items() if len(shape) == 1)
        for key, components in unread.items():
            read = torch.ones(shapes[key])
            read[list(components)] = 0.0
            self.register_buffer(_mask_name(key), read, persistent=False)
        self.masked = tuple(unread)
        self.hidden = nn.Linear(n_obs_steps * sum(shapes[key][0] for key in self.numbers), state_dim)
        self.film = Film(state_dim, sentence_dim)
        self.width += state_dim + sentence_dim

    def forward(self, observations: Sequence[Tensor], condition: Tensor | None = None) -> Tensor:
        """Return [B, width].

        Args:
            observations: as in `ObservationEncoder.forward`, then ids [B, max_words, pieces].
            condition: made of the ids when None.
        """
        *frames, ids = observations
        told = self.sentence(ids) if condition is None else condition
        read = [
            x * getattr(self, _mask_name(k)) if k in self.masked else x for k, x in zip(self.keys, frames, strict=True)
        ]
        encoded = super().forward(read, told)
        numbers = [x.flatten(1) for key, x in zip(self.keys, read, strict=True) if key in self.numbers]
        hidden = functional.silu(self.film(self.hidden(torch.cat(numbers, dim=1)), told))
        return torch.cat((encoded, hidden, told), dim=1)


def _mask_name(key: str) -> str:
    return f"reads_{key.replace('.', '_')}"
