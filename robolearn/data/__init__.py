"""LeRobot v3 datasets: writing, reading into memory, statistics."""
