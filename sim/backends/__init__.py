"""Physics engines behind one protocol, `robolearn.sim.vec_env.WorldBatch`."""
