"""What `robolearn.sim.backends.isaacgym` uses of Isaac Gym Preview 4, typed."""
