"""LeRobot's own reward models behind the project's contract."""
