"""Stage-aware reward model over a causal window."""
