"""What writer and reader of a bundle must agree on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FORMAT = 2  # of the manifest; raised when an older reader could not read it

ENCODER, DENOISER, RESIDUAL = "encoder.onnx", "denoiser.onnx", "residual.onnx"
WHOLE = "policy.onnx"  # of a policy that needs no sampler
TOLD = "task"  # input of the encoder of a policy that reads an instruction: its tokens


def policy_graphs(policy: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the base policy's graphs, by its description."""
    return (WHOLE,) if policy.get("sampler", "") is None else (ENCODER, DENOISER)


def input_name(channel: str) -> str:
    """Name of a channel's graph input."""
    return channel.replace(".", "_")


def denoiser_inputs(sampler: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the denoiser's inputs for a sampler's description."""
    return ("observed", "sample", "time", *(("step",) if sampler["name"] == "shortcut" else ()))
