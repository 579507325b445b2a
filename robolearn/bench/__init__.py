"""Benchmarks: one module each, with `SUMMARY`, `SEEDS` and `run(progress) -> list[Measure]`.

`run` measures its own value and the baseline side by side; `progress` takes a line of text.
"""
