"""LeRobot's checkpoints behind the project's `Policy` protocol; import `checkpoint` when it is needed."""
