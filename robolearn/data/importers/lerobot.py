"""Any LeRobot v3 dataset from a local folder, its channels renamed; pictures and annotations stay as they are."""

from __future__ import annotations

from pathlib import Path

from robolearn.data.copying import Selection, copy_episodes
from robolearn.data.importers.contract import read_contract
from robolearn.data.importers.recordings import Progress
from robolearn.data.raw import RawDataset
from robolearn.errors import nearest


def import_lerobot(source: Path, out: Path, contract: Path | None, *, progress: Progress) -> int:
    """Copy a dataset with other names of channels; return its number of episodes.

    Args:
        source: the dataset's folder.
        out: the new folder.
        contract: YAML whose `channels` says for new names which old ones they stand for; channels that are not in it
            keep their names.
        progress: shows how many episodes are copied.

    Raises:
        UserError: the contract names a channel that is not there, or gives two channels one name; `out` exists.
    """
    raw = RawDataset.load(source)
    given = read_contract(contract, options=(), entry="key", entry_options=())
    rename: dict[str, str] = {}
    for new, entries in given.channels.items():
        old = entries[0]["key"]
        if len(entries) > 1 or old in rename:
            raise given.fail(f"channel '{new}' must stand for one channel that no other stands for")
        if old not in raw.features:
            raise given.fail(f"the dataset has no channel '{old}'{nearest(old, raw.features)}")
        rename[old] = new
    names = [rename.get(key, key) for key in raw.info["features"]]
    if twice := [name for name in names if names.count(name) > 1]:
        raise given.fail(f"two channels would be '{twice[0]}': rename the other one too")
    with progress("import", raw.num_episodes) as advance:
        copy_episodes([Selection(raw, range(raw.num_episodes))], out, rename=rename, advance=advance)
    return raw.num_episodes
