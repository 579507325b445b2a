"""Experts: what demonstrates a task in simulation."""
