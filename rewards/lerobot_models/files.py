"""Models that others are built on, from this machine alone: nothing is downloaded, and no code of theirs is run."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

from robolearn.errors import UserError

BASE = "base"


def base_of(folder: Path, name: str) -> Path:
    """Return the folder of the model that a checkpoint is built on.

    Args:
        folder: of the checkpoint; its own `base` comes first.
        name: another folder, or the name in Hugging Face's hub of a model that has been downloaded.

    Raises:
        UserError: it is nowhere on this machine.
    """
    for place in (folder / BASE, Path(name)):
        if place.is_dir():
            return place
    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError) as error:
        raise UserError(
            f"the model '{name}' that {folder} is built on is not on this machine: download it with "
            f"`hf download {name}`, or put it into {folder / BASE}"
        ) from error


def plain(folder: Path, *, weights: bool = False) -> Path:
    """Check that a folder holds data alone, for LeRobot lets transformers run what code is in it.

    Args:
        folder: of a model of transformers.
        weights: whether its weights are wanted; they must not be pickled.

    Raises:
        UserError: it does not.
    """
    if code := sorted(folder.glob("*.py")):
        raise UserError(f"{folder} holds code ({code[0].name}), which would be run: take a model without")
    if weights and not any(folder.glob("*.safetensors")):
        raise UserError(f"{folder} holds no weights as .safetensors: save them so, with `save_pretrained`")
    return folder


def first_line(error: Exception) -> str:
    """Return what an error says first; what LeRobot and transformers say can fill pages."""
    return str(error).partition("\n")[0]
