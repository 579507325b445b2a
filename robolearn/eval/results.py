"""Benchmark results: one JSON file each, read by people, by the README's tables and by later comparisons."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from robolearn.errors import UserError

ID = re.compile(r"[a-z0-9]+([_.-][a-z0-9]+)*")


@dataclass(frozen=True)
class Measure:
    """One figure.

    Attributes:
        id: stable name, e.g. "control_steps_per_s.lift".
        value: what was measured.
        unit: its unit, "1" where it has none.
        baseline: the same quantity of the other side of the comparison, measured in the same run.
        interval: 95 % interval of the value (low, high).
    """

    id: str
    value: float
    unit: str
    baseline: float | None = None
    interval: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if not ID.fullmatch(self.id):
            raise ValueError(f"measure id '{self.id}': lower-case words joined by '.', '_' or '-'")
        numbers = (self.value, self.baseline, *(self.interval or ()))
        if not all(number is None or math.isfinite(number) for number in numbers):
            raise ValueError(f"measure '{self.id}' is not finite: {numbers}")
        if self.interval is not None and self.interval[0] > self.interval[1]:
            raise ValueError(f"measure '{self.id}' has an interval upside down: {self.interval}")

    @property
    def ratio(self) -> float | None:
        """Value over baseline."""
        return None if self.baseline is None or self.baseline == 0 else self.value / self.baseline


@dataclass(frozen=True)
class Result:
    """Everything needed to read a comparison and to run it again.

    Attributes:
        name: the benchmark.
        command: what was typed.
        commit: see `robolearn.eval.machine.commit`.
        machine: see `robolearn.eval.machine.machine`.
        seeds: seeds of the repetitions.
        measures: the figures, ids unique.
    """

    name: str
    command: str
    commit: str
    machine: dict[str, str]
    seeds: tuple[int, ...]
    measures: tuple[Measure, ...]

    def __post_init__(self) -> None:
        ids = [measure.id for measure in self.measures]
        if twice := {i for i in ids if ids.count(i) > 1}:
            raise ValueError(f"measure '{min(twice)}' appears twice in '{self.name}'")

    def __getitem__(self, measure_id: str) -> Measure:
        for measure in self.measures:
            if measure.id == measure_id:
                return measure
        raise KeyError(measure_id)

    def save(self, path: Path) -> None:
        """Write the JSON file; folders are made, an older file is replaced in one go."""
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_text(path, json.dumps(asdict(self), indent=2, ensure_ascii=False, allow_nan=False) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            UserError: the file is missing, is no JSON or has another form; the message names the field.
        """
        try:
            return cls.from_dict(json.loads(path.read_text()))
        except FileNotFoundError:
            raise UserError(f"no result file '{path}': run `robolearn bench {path.stem}` to make it") from None
        except (ValueError, TypeError, OSError) as error:
            raise UserError(f"'{path}' is no result file ({error}): run `robolearn bench` to write it anew") from error

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        """Build from plain JSON data.

        Raises:
            ValueError: naming the field that is missing, unknown or of the wrong type.
        """
        _require(data, cls, {"name": str, "command": str, "commit": str, "machine": dict, "seeds": list}, "the result")
        if not isinstance(data["measures"], list):
            raise ValueError("'measures' is no list")
        texts = {str(key): str(value) for key, value in data["machine"].items()}
        if not all(isinstance(seed, int) for seed in data["seeds"]):
            raise ValueError("'seeds' are not all whole numbers")
        measures = tuple(_measure(item) for item in data["measures"])
        return cls(**{**data, "machine": texts, "seeds": tuple(data["seeds"]), "measures": measures})


def _measure(item: Any) -> Measure:
    number = (int, float)
    _require(item, Measure, {"id": str, "value": number, "unit": str}, "a measure")
    baseline, interval = item["baseline"], item["interval"]
    if baseline is not None and not isinstance(baseline, number):
        raise ValueError(f"the baseline of '{item['id']}' is no number")
    if interval is None:
        return Measure(**item)
    if not isinstance(interval, list) or len(interval) != 2 or not all(isinstance(end, number) for end in interval):
        raise ValueError(f"the interval of '{item['id']}' is not [low, high]")
    return Measure(**{**item, "interval": (interval[0], interval[1])})


def _require(data: Any, form: type[Any], types: Mapping[str, type[Any] | tuple[type[Any], ...]], what: str) -> None:
    names = [field.name for field in fields(form)]
    if not isinstance(data, dict):
        raise ValueError(f"{what} is no JSON object")
    if missing := [name for name in names if name not in data]:
        raise ValueError(f"{what} lacks '{missing[0]}'")
    if unknown := [name for name in data if name not in names]:
        raise ValueError(f"{what} has an unknown field '{unknown[0]}'")
    for name, kind in types.items():
        # JSON's true is an int to Python
        if not isinstance(data[name], kind) or isinstance(data[name], bool):
            raise ValueError(f"'{name}' of {what} has the wrong type: {data[name]!r}")


def replace_text(path: Path, text: str) -> None:
    """Write a text file so that a kill leaves either the old or the new one."""
    tmp = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        tmp.write_text(text, encoding="utf-8")
        os.replace(tmp, path)
    finally:
        tmp.unlink(missing_ok=True)


def readme_table(results: Iterable[Result]) -> str:
    """Markdown table of all measures, then the command, commit and machine behind each benchmark."""
    rows = ["| Measure | Value | 95 % interval | Baseline | Ratio |", "|---|---:|---:|---:|---:|"]
    notes = []
    for result in results:
        for m in result.measures:
            interval = "" if m.interval is None else f"{number(m.interval[0])} to {number(m.interval[1])}"
            unit = "" if m.unit == "1" else f" {_cell(m.unit)}"
            baseline = "" if m.baseline is None else f"{number(m.baseline)}{unit}"
            ratio = "" if m.ratio is None else f"{number(m.ratio)}x"
            rows.append(
                f"| `{_cell(result.name)}`: `{m.id}` | {number(m.value)}{unit} | {interval} | {baseline} | {ratio} |"
            )
        notes.append(provenance(result))
    return "\n".join(rows) + "\n\n" + "\n".join(notes) + "\n"


def percent(measure: Measure | None) -> str:
    """Cell of a table: a share in per cent, with its interval if it has one; empty where there is no measure."""
    if measure is None:
        return ""
    if measure.interval is None:
        return f"{measure.value:.0%}"
    low, high = measure.interval
    return f"{measure.value:.0%} ({low:.0%} to {high:.0%})"


def provenance(result: Result) -> str:
    """Markdown line with the command, commit, seeds and machine behind a benchmark."""
    where = [
        result.machine.get("cpu", ""),
        f"{result.machine.get('cores', '?')} cores",
        result.machine.get("gpu", ""),
    ]
    seeds = ", ".join(map(str, result.seeds)) or "none"
    return (
        f"- `{_cell(result.name)}`: `{result.command}`, commit {result.commit}, seeds {seeds}, "
        f"on {', '.join(filter(None, where))}"
    )


def number(value: float) -> str:
    """Three significant digits for people: 0.0123, 1.23, 123, 12 300."""
    if value == 0:
        return "0"
    digits = 2 - math.floor(math.log10(abs(value)))
    rounded = round(value, digits)
    return f"{rounded:,.0f}".replace(",", " ") if digits <= 0 else f"{rounded:.{min(digits, 12)}f}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
