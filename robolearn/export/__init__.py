"""Export: from a trained policy to the bundle that a robot runs."""
