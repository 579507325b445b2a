"""Online reinforcement learning on top of a base policy, one algorithm a file."""
