"""Blocks of work spread over processes of this machine or the machines of a Ray cluster."""
