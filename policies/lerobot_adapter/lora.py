"""Low-rank adaptation (LoRA, Hu et al. 2022) by peft: W x + (alpha / rank) B A x, with W frozen."""

from __future__ import annotations

from typing import Any

from lerobot.policies.pretrained import PreTrainedPolicy
from torch import Tensor

from robolearn.errors import UserError

ADAPTER = "default"


def add_lora(policy: PreTrainedPolicy, *, rank: int, alpha: int) -> None:
    """Freeze a policy and put adapters into the layers that LeRobot adapts in a policy of its type.

    Raises:
        UserError: peft is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise UserError("policy.lora_rank needs peft: `uv sync --inexact --extra vla`") from error
    for parameter in policy.parameters():
        parameter.requires_grad_(False)
    targets: Any = policy._get_default_peft_targets()
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=targets["target_modules"])
    inject_adapter_in_model(config, policy, adapter_name=ADAPTER)


def merged_state(policy: PreTrainedPolicy) -> dict[str, Tensor]:
    """Return a policy's weights with its adapters, if it has any, added to what they adapt.

    Merging in place and back would leave rounding errors in the frozen weights.
    """
    state: dict[str, Tensor] = policy.state_dict()
    for name, layer in policy.named_modules():
        if not hasattr(layer, "get_delta_weight"):
            continue
        base = layer.base_layer
        for key in [key for key in state if key.startswith(f"{name}.")]:
            del state[key]
        state |= {f"{name}.{key}": tensor for key, tensor in base.state_dict().items()}
        state[f"{name}.weight"] = base.weight.detach() + layer.get_delta_weight(ADAPTER).detach()
    return state
