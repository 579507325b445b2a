"""Reward models and progress estimators, and what is made of them."""

assert __name__ == "robolearn.rewards", "import robolearn.rewards, never the bare folder"
