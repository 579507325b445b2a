"""Files of networks: folders that appear whole or not at all, and weights that must fit."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor, nn

from robolearn.errors import UserError


@contextmanager
def fresh_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder to write to, which takes the place of `folder` when the block ends well."""
    folder = Path(folder)
    fresh, old = (folder.with_name(f".{folder.name}.{suffix}") for suffix in ("new", "old"))
    for left_over in (fresh, old):
        shutil.rmtree(left_over, ignore_errors=True)
    fresh.mkdir(parents=True)
    yield fresh
    if folder.exists():
        os.replace(folder, old)
    os.replace(fresh, folder)
    shutil.rmtree(old, ignore_errors=True)


def fill_weights(network: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Fill a network with the tensors of the file `path`.

    Raises:
        UserError: they are of another network; the message names the first tensor that differs.
    """
    own = network.state_dict()
    for name in own | dict(tensors):  # in the network's order, whatever the strings' hashes are
        if name not in own or name not in tensors or own[name].shape != tensors[name].shape:
            there, here = (tuple(d[name].shape) if name in d else "absent" for d in (tensors, own))
            raise UserError(
                f"{path} is a checkpoint of another policy: '{name}' is {there} there but {here} by config.json; "
                "give the folder that training wrote"
            )
    network.load_state_dict(dict(tensors))
