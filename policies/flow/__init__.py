"""Flow matching policy; import `configuration_flow` or `modeling_flow` (they load LeRobot) when it is needed."""
