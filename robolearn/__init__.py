"""robolearn: teach a robot arm in simulation, refine it with online RL, run it through ROS 2."""

__version__ = "0.1.0"
