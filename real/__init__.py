"""Deployment: control loop, safety, inference process and the ROS 2 node. Imports neither torch nor hydra."""

assert __name__ == "robolearn.real", "import robolearn.real, never the bare folder"
