"""Diffusion policy; import `configuration_diffusion` or `modeling_diffusion` (they load LeRobot) when it is needed."""
