"""Simulation: tasks, robots, experts and the backends that step them."""

assert __name__ == "robolearn.sim", "import robolearn.sim, never the bare folder"
