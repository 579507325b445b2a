"""Behaviour policies."""

assert __name__ == "robolearn.policies", "import robolearn.policies, never the bare folder"
