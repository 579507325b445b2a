"""Recordings of other programs as LeRobot v3 datasets with our names: robomimic HDF5, LeRobot, rosbag2."""
