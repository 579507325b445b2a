"""ROS 2: the control node, a simulated arm that plays the hardware, and the runner of whole episodes."""
