"""Registers our policies; LeRobot finds classes and processors beside their configurations."""

from robolearn.policies import lerobot_processors
from robolearn.policies.diffusion.configuration_diffusion import DiffusionConfig
from robolearn.policies.flow.configuration_flow import FlowConfig
from robolearn.policies.vla.configuration_vla import VLAConfig

__all__ = ["DiffusionConfig", "FlowConfig", "VLAConfig", "lerobot_processors"]
