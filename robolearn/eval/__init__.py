"""Evaluation: success rates with intervals, reports, benchmark results."""
