"""Progress as a potential learned from ranked pairs of frames."""
