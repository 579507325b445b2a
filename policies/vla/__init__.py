"""Compact vision-language-action policy; import `configuration_vla` or `modeling_vla` (they load LeRobot) if needed."""
