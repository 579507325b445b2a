"""Progress and reward from a vision-language model (Large Reward Models, Wu et al. 2026, arXiv:2603.16065)."""
