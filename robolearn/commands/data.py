"""`robolearn data info|check|view|merge|split|import`: look at datasets, mend, combine and import them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from robolearn.commands.common import console, progress
from robolearn.config import (
    DataCheckConfig,
    DataImportConfig,
    DataInfoConfig,
    DataMergeConfig,
    DataSplitConfig,
    DataViewConfig,
)
from robolearn.errors import UserError

if TYPE_CHECKING:
    from robolearn.data.describe import Description
    from robolearn.data.raw import RawDataset


def run(config: Any) -> int:
    """Do what the configuration's type says, and return the exit status."""
    return ACTIONS[type(config)](config)


def info(config: DataInfoConfig) -> int:
    """Print what is in a dataset."""
    from robolearn.data.describe import describe
    from robolearn.data.raw import RawDataset

    found = describe(RawDataset.load(Path(config.dataset)))
    console.print(_facts(found, config.dataset))
    console.print(_channels(found))
    return 0


def _facts(found: Description, name: str) -> Table:
    table = Table(title=Text(name), title_justify="left", show_header=False, box=None)
    for key, value in found.facts().items():
        table.add_row(key, Text(value))
    return table


def _channels(found: Description) -> Table:
    table = Table(box=None)
    for header in ("channel", "dtype", "shape", "unit", "smallest", "largest"):
        table.add_column(header, justify="right" if header.endswith("est") else "left", no_wrap=header == "channel")
    for channel in found.channels:
        table.add_row(*map(Text, channel.cells()))
    return table


def check(config: DataCheckConfig) -> int:
    """Print what is wrong with a dataset, one line each; 1 if anything is."""
    from robolearn.data.check import check_dataset
    from robolearn.data.findings import Limits

    findings = check_dataset(Path(config.dataset), Limits(min_seconds=config.min_seconds, jump=config.jump))
    for finding in findings:
        console.print(
            f"{'hint ' if finding.hint else 'fault'} {finding}", soft_wrap=True, markup=False, highlight=False
        )
    faults = [finding for finding in findings if config.strict or not finding.hint]
    hints = len(findings) - len(faults)
    console.print(f"{config.dataset}: {_count(len(faults), 'fault')}, {_count(hints, 'hint')}", highlight=False)
    return 1 if faults else 0


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


def merge(config: DataMergeConfig) -> int:
    """Put datasets into one."""
    from robolearn.data.merge import merge as merge_datasets
    from robolearn.data.raw import RawDataset

    roots = [Path(name) for name in config.datasets]
    total = sum(RawDataset.load(root).num_episodes for root in roots)
    with progress("merge", total) as advance:
        merge_datasets(roots, Path(config.out), advance=advance)
    console.print(f"{total} episodes of {len(roots)} datasets in {config.out}")
    return 0


def split(config: DataSplitConfig) -> int:
    """Split a dataset in two."""
    from robolearn.data.raw import RawDataset
    from robolearn.data.split import split as split_dataset

    if len(config.names) != 2 or len(set(config.names)) != 2:
        raise UserError(f"names={config.names} must be two different names, e.g. names=[train,validation]")
    source = RawDataset.load(Path(config.dataset))
    chosen = choose(config, source)
    names = (config.names[0], config.names[1])
    with progress("split", source.num_episodes) as advance:
        parts = split_dataset(source, chosen, Path(config.out), names=names, advance=advance)
    for part, count in zip(parts, (len(chosen), source.num_episodes - len(chosen)), strict=True):
        console.print(f"{count} episodes in {part}")
    return 0


def choose(config: DataSplitConfig, source: RawDataset) -> list[int]:
    """Numbers of the episodes of the first part.

    Raises:
        UserError: it is not said by exactly one of share, episodes, and column with value.
    """
    from robolearn.data.split import by_column, by_list, by_share

    given = [key for key in ("share", "episodes", "column") if getattr(config, key) is not None]
    if len(given) != 1 or (config.column is None) != (config.value is None):
        raise UserError("say how to split by one of share=0.9, episodes=[0,5,10-19], and column=success value=true")
    if config.share is not None:
        return by_share(source.num_episodes, config.share, seed=config.seed)
    if config.episodes is not None:
        return by_list(source.num_episodes, config.episodes)
    assert config.column is not None
    assert config.value is not None
    return by_column(source, config.column, config.value)


def view(config: DataViewConfig) -> int:
    """Write the page of a dataset."""
    from robolearn.commands.data_page import write_page
    from robolearn.data.describe import size

    root = Path(config.dataset)
    out = Path(config.out) if config.out is not None else root.with_name(f"{root.name}.html")
    shown = write_page(root, out, episodes=config.episodes, only=config.only, strips=config.strips)
    console.print(f"{_count(shown, 'episode')} on {out} ({size(out.stat().st_size)})", soft_wrap=True, highlight=False)
    return 0


def import_(config: DataImportConfig) -> int:
    """Import recordings."""
    from robolearn.data.importers.run import import_recordings

    count = import_recordings(
        Path(config.source),
        Path(config.out),
        format=config.format,
        contract=None if config.contract is None else Path(config.contract),
        task=config.task,
        video=config.video,
        progress=progress,
    )
    console.print(f"{count} episodes in {config.out}; `robolearn data check dataset={config.out}` looks for faults")
    return 0


ACTIONS: dict[type, Any] = {
    DataInfoConfig: info,
    DataCheckConfig: check,
    DataViewConfig: view,
    DataMergeConfig: merge,
    DataSplitConfig: split,
    DataImportConfig: import_,
}
