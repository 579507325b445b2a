"""Progress as the value of an offline RL critic."""
