"""Instructions in policies: words to one vector, and an encoder of observations that this vector conditions.

Everything is trained from scratch on the phrasings of the dataset; `robolearn.language` makes ids of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from robolearn.language import PADDING
from robolearn.policies.backbones.attention import TransformerBlock
from robolearn.policies.backbones.film import Film
from robolearn.policies.encoders import ObservationEncoder


class SentenceEncoder(nn.Module):
    """A small transformer over the words of an instruction, then attention pooling with a learned query.

    A word is the mean of the embeddings of its ids (Bojanowski et al. 2017). A learned token before the first word
    keeps an empty instruction defined.
    """

    def __init__(self, *, buckets: int, max_words: int, dim: int, num_blocks: int, num_heads: int) -> None:
        """Build it; `buckets` and `max_words` are the tokeniser's, `num_heads` must divide `dim`."""
        super().__init__()
        self.pieces = nn.Embedding(1 + buckets, dim)
        nn.init.normal_(self.pieces.weight, std=0.02)  # small, so that words never trained on say little
        self.start = nn.Parameter(0.02 * torch.randn(dim))
        self.place = nn.Parameter(0.02 * torch.randn(1 + max_words, dim))
        self.blocks = nn.ModuleList(TransformerBlock(dim, num_heads) for _ in range(num_blocks))
        self.query = nn.Linear(dim, 1)

    def forward(self, ids: Tensor) -> Tensor:
        """Return [B, dim] from ids [B, words, pieces] of up to `max_words`."""
        there = ids != PADDING
        share = there / there.sum(2, keepdim=True).clamp(min=1)
        words = (share[:, :, None] @ self.pieces(ids))[:, :, 0]
        h = torch.cat((self.start.expand(ids.shape[0], 1, -1), words), dim=1) + self.place[: 1 + ids.shape[1]]
        seen = functional.pad(there.any(2), (1, 0), value=True)
        for block in self.blocks:
            h = block(h, seen[:, None, None])
        h = functional.layer_norm(h, h.shape[2:])
        weights = torch.softmax(self.query(h)[..., 0].masked_fill(~seen, -torch.inf), dim=1)
        return (weights[..., None] * h).sum(1)


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


def without_padding(ids: Tensor) -> Tensor:
    """Return ids [B, max_words, pieces] without the words and pieces that no instruction has; the first ones stay."""
    there = ids != PADDING
    words, pieces = (int(there.any(0).any(1 - axis).sum().clamp(min=1)) for axis in (0, 1))
    return ids[:, :words, :pieces]


def without_some(ids: Tensor, *, words: float, pieces: float) -> Tensor:
    """Return ids [B, max_words, pieces] of which shares of the words and of the pieces are left out at random."""
    keep_word = torch.rand(ids.shape[:2], device=ids.device)[..., None] >= words
    keep_piece = torch.rand(ids.shape, device=ids.device) >= pieces
    return torch.where(keep_word & keep_piece, ids, PADDING)
