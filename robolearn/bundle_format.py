"""What writer and reader of a bundle must agree on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

FORMAT = 3  # of the manifest; raised when an older reader could not read it

ENCODER, DENOISER = "encoder.onnx", "denoiser.onnx"
GUIDED = "guided.onnx"  # of a policy whose chunks can be drawn to others exactly, beside these two
WHOLE = "policy.onnx"  # of a policy that needs no sampler
COLLISION = "collision.xml"  # shape of arm and table, MJCF of primitives; not in every bundle
NOISE = "noise"  # input of such a policy that draws noise
# what lies on top of a policy: the input of its graph besides the observation, and its output
ON_TOP = {
    "correction": ("base_action", "action"),
    "steering": ("noise", "steered"),
    "critic": ("chunk", "value"),
}
TOLD = "task"  # input of the encoder of a policy that reads an instruction: its tokens
MONITOR = "monitor.onnx"  # one step of a recurrent progress estimator; not in every bundle
MONITOR_STATE = ("memory", "begun", "count")  # its inputs besides tokens and channels, and, with "next_", outputs


def policy_graphs(policy: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the base policy's graphs, by its description."""
    if policy.get("sampler", "") is None:
        return (WHOLE,)
    return (ENCODER, DENOISER, GUIDED) if policy.get("guided") else (ENCODER, DENOISER)


def on_top_graph(kind: str) -> str:
    """Name of the graph of what lies on top of a policy."""
    return f"{kind}.onnx"


def input_name(channel: str) -> str:
    """Name of a channel's graph input."""
    return channel.replace(".", "_")


def monitor_outputs(kinds: Sequence[str]) -> tuple[str, ...]:
    """Names of the monitor graph's outputs, for the kinds of failure that it tells."""
    state = tuple(f"next_{name}" for name in MONITOR_STATE)
    return (*state, "stages", "progress", *(("kinds",) if kinds else ()))


def denoiser_inputs(sampler: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the denoiser's inputs for a sampler's description."""
    return ("observed", "sample", "time", *(("step",) if sampler["name"] == "shortcut" else ()))


def guided_inputs(sampler: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the guided graph's inputs: the denoiser's, and where the chunk is drawn to."""
    return (*denoiser_inputs(sampler), "target", "mask")
