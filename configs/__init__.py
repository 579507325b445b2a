"""Hydra configuration files, installed with the package."""

assert __name__ == "robolearn.configs", "import robolearn.configs, never the bare folder"
