"""The YAML file that says which recorded values become which channel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from robolearn.errors import UserError, nearest

Entries = dict[str, tuple[dict[str, Any], ...]]


@dataclass(frozen=True)
class Contract:
    """A contract as it was written, with the names of its options checked.

    Attributes:
        path: the file; None where nobody gave one.
        options: values for the whole import, e.g. "fps".
        channels: what each channel is put together from, in order.
    """

    path: Path | None
    options: dict[str, Any]
    channels: Entries

    def fail(self, text: str) -> UserError:
        """Return an error that names the file."""
        return UserError(f"{self.path}: {text}" if self.path else text)

    def number(self, key: str, default: int | None = None) -> int:
        """Return a positive whole number.

        Raises:
            UserError: it is missing, or something else.
        """
        value = self.options.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise self.fail(f"'{key}' is {value}: give a whole number, at least 1")
        return value


def read_contract(path: Path | None, *, options: Iterable[str], entry: str, entry_options: Iterable[str]) -> Contract:
    """Read a contract.

    A channel is one entry or a list of them, which are put one after the other. An entry is a dictionary, or the value
    of its main option alone.

    Args:
        path: the file; None means an empty contract.
        options: names allowed at the top, besides `channels`.
        entry: the main option of an entry, which must be there, e.g. "topic".
        entry_options: names of the others.

    Raises:
        UserError: the file is missing, is no such YAML, or has a name that means nothing.
    """
    if path is None:
        return Contract(None, {}, {})
    if not path.exists():
        raise UserError(f"there is no contract {path}: check the path")
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UserError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    whole = Contract(path, {}, {})
    if not isinstance(data, dict):
        raise whole.fail("a contract is a list of options, one `name: value` per line")
    _require_known(whole, data, [*options, "channels"], "")
    channels = data.pop("channels", {})
    if not isinstance(channels, dict):
        raise whole.fail("`channels` must be a list of `channel: source`")
    known = [entry, *entry_options]
    entries = {str(key): _entries(whole, str(key), value, entry, known) for key, value in channels.items()}
    return Contract(path, data, entries)


def _entries(contract: Contract, key: str, value: Any, entry: str, known: Sequence[str]) -> tuple[dict[str, Any], ...]:
    items = value if isinstance(value, list) else [value]
    result = []
    for item in items:
        fields = item if isinstance(item, dict) else {entry: item}
        _require_known(contract, fields, known, f" of channel '{key}'")
        if not isinstance(fields.get(entry), str):
            raise contract.fail(f"channel '{key}' needs `{entry}`")
        result.append(fields)
    if not result:
        raise contract.fail(f"channel '{key}' is made of nothing")
    return tuple(result)


def _require_known(contract: Contract, fields: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for name in fields:
        if name not in known:
            raise contract.fail(f"unknown option '{name}'{where}{nearest(str(name), known)}")
