"""`robolearn bench`: run a benchmark of `robolearn.bench`, write its result file, fill the documents' tables."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from robolearn import bench
from robolearn.config import BenchConfig
from robolearn.errors import UserError, nearest
from robolearn.eval.machine import commit, machine
from robolearn.eval.results import Result, number, readme_table, replace_text

RESULTS = Path("benchmarks/results")
README = Path("README.md")
DOCUMENTS = (README, Path("docs/benchmarks.md"))  # that quote result files
NARROWING = ("tasks", "seeds", "policies", "only", "algorithms", "steps")  # options that only some benchmarks have
MARKED = re.compile(r"(<!-- bench:(?P<name>[\w-]+) -->\n).*?(<!-- /bench -->)", re.DOTALL)


def run(config: BenchConfig) -> None:
    """Run one benchmark and write `<name>.json`.

    Raises:
        UserError: no such benchmark, an option that it does not have, or no checkout here to write to and no `out`.
    """
    module = load(config.name)
    path = _destination(config)
    given = _narrowed(config, module)
    measures = tuple(module.run(lambda line: print(line, file=sys.stderr, flush=True), **given))
    result = Result(
        name=config.name,
        command=" ".join(("robolearn bench", config.name, *map(_word, given.items()))),
        commit=commit(),
        machine=machine(),
        seeds=_seeds(config, module, given),
        measures=measures,
    )
    result.save(path)
    for m in measures:
        against = "" if m.baseline is None else f", baseline {number(m.baseline)}"
        ratio = "" if m.ratio is None else f": {number(m.ratio)}x"
        print(f"{m.id}: {number(m.value)} {m.unit}{against}{ratio}")
    print(f"written to {path}")


def names() -> list[str]:
    """Names of the benchmarks; modules that begin with an underscore are their helpers."""
    modules = (module.name for module in pkgutil.iter_modules(bench.__path__))
    return sorted(name for name in modules if not name.startswith("_"))


def load(name: str) -> ModuleType:
    """Import the module of a benchmark.

    Raises:
        UserError: there is none of this name.
    """
    if name not in names():
        raise UserError(f"unknown benchmark '{name}'{nearest(name, names())}")
    return importlib.import_module(f"robolearn.bench.{name}")


def overview() -> str:
    """Return one line for each benchmark."""
    width = max(map(len, names()))
    return "\n".join(f"{name:<{width}}  {load(name).SUMMARY}" for name in names())


def update_documents() -> list[str]:
    """Rewrite what stands between `<!-- bench:NAME -->` and `<!-- /bench -->`; return what was done, a line each.

    Raises:
        UserError: no README.md here, no markers in any document, or a result file is missing.
    """
    if not README.exists():
        raise UserError("no README.md in this folder: run it in the top folder of the checkout")
    texts = {path: path.read_text(encoding="utf-8") for path in DOCUMENTS if path.exists()}
    marked = {path: [match["name"] for match in MARKED.finditer(text)] for path, text in texts.items()}
    if not any(marked.values()):
        raise UserError("README.md has no table to fill: mark its place with <!-- bench:NAME --> and <!-- /bench -->")
    filled = {path: MARKED.sub(_table, texts[path]) for path, found in marked.items() if found}
    for path, text in filled.items():
        replace_text(path, text)
    return [f"{path}: {', '.join(marked[path])}" for path in filled]


def _seeds(config: BenchConfig, module: ModuleType, given: dict[str, Any]) -> tuple[int, ...]:
    """Seeds of what was measured: where runs are kept of all that are finished, also those of other commands."""
    if hasattr(module, "finished_seeds"):
        return tuple(module.finished_seeds(**given))
    return tuple(module.SEEDS if config.seeds is None else config.seeds)


def _word(option: tuple[str, Any]) -> str:
    """An option as it is typed, e.g. seeds=[0,1]."""
    name, value = option
    return f"{name}=[{','.join(map(str, value))}]" if isinstance(value, list) else f"{name}={value}"


def _narrowed(config: BenchConfig, module: ModuleType) -> dict[str, Any]:
    """What was given of those options that only some benchmarks have."""
    given = {name: getattr(config, name) for name in NARROWING}
    given = {name: value for name, value in given.items() if value is not None}
    if unknown := given.keys() - inspect.signature(module.run).parameters.keys():
        raise UserError(f"`bench {config.name}` has no option '{min(unknown)}': leave it out")
    return given


def _table(match: re.Match[str]) -> str:
    """A benchmark's table: of all its measures, unless it has a way of its own."""
    result = Result.load(RESULTS / f"{match['name']}.json")
    own = getattr(load(match["name"]), "table", None) if match["name"] in names() else None
    return match[1] + (readme_table([result]) if own is None else own(result)) + match[3]


def _destination(config: BenchConfig) -> Path:
    if config.out is not None:
        return Path(config.out)
    if not RESULTS.parent.is_dir():
        raise UserError(
            f"no folder '{RESULTS.parent}' here: run it in the top folder of the checkout, or give out=FILE"
        )
    return RESULTS / f"{config.name}.json"
