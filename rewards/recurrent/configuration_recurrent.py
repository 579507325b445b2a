"""Configuration of the recurrent progress model."""

from __future__ import annotations

from dataclasses import dataclass, field

from lerobot.configs.rewards import RewardModelConfig

from robolearn.errors import UserError
from robolearn.rewards.model import RewardConfig


@RewardModelConfig.register_subclass("robolearn_recurrent")
@dataclass
class RecurrentConfig(RewardConfig):
    """A recurrent state over snippets.

    Attributes:
        snippet: frames of a snippet.
        snippets: snippets of a training clip; at run time there is no end.
        kinds: of failure that it tells apart; none where it does not tell them.
        kinds_temperature: like `temperature`, of their probabilities.
    """

    snippet: int = 4
    snippets: int = 12
    kinds: list[str] = field(default_factory=list)
    kinds_temperature: float = 1.0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UserError: a value makes no sense; the message says which would.
        """
        super().__post_init__()
        for name in ("snippet", "snippets"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}: it must be at least 1")
        if len(set(self.kinds)) != len(self.kinds) or "" in self.kinds:
            raise UserError(f"kinds {self.kinds} are not different names: give each kind of failure once")
