"""The files of LeRobot's vision-language-action policies: weights, and what belongs to their language model.

LeRobot keeps the weights of the language model in the policy's checkpoint, but neither its tokeniser nor, for SmolVLA,
its configuration: these it downloads. Here they may lie in a folder `vlm` beside the weights, so that a checkpoint is
complete.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from lerobot.policies import get_policy_class
from lerobot.policies.pretrained import PreTrainedPolicy
from safetensors.torch import load_file
from torch import Tensor

from robolearn.errors import UserError
from robolearn.networks.files import fill_weights
from robolearn.policies.serving import CONFIG, PREPROCESSOR, WEIGHTS

VLAS = ("smolvla", "pi0", "pi05")
VLM = "vlm"
VLM_FILES = ("*.json", "*.txt", "*.model", "*.jinja")  # not the weights
PALIGEMMA = "google/paligemma-3b-pt-224"


def policy_snapshot(name: str) -> Path:
    """Return the folder of a policy: `name` itself, or a copy of it from the hub.

    Raises:
        UserError: there is no such folder, and the hub cannot be reached or does not have it.
    """
    folder = Path(name)
    if not folder.is_dir():
        folder = _download(name, None, f"there is no policy '{name}' here: give its folder, or `hf download {name}` it")
    for inner in ("pretrained_model", "checkpoints/last/pretrained_model", "policy"):
        if (folder / inner).is_dir():
            folder = folder / inner
    for file in (CONFIG, WEIGHTS, PREPROCESSOR):
        if not (folder / file).exists():
            raise UserError(f"{folder} lacks {file}: give the `pretrained_model` folder of LeRobot's trainer")
    return folder


def vlm_name(folder: Path, config: Any) -> str:
    """Return what LeRobot would download the tokeniser from."""
    if config.type == "smolvla":
        return str(config.vlm_model_name)
    steps = json.loads((folder / PREPROCESSOR).read_text())["steps"]
    told = [s["config"].get("tokenizer_name") for s in steps if s.get("registry_name") == "tokenizer_processor"]
    return next(filter(None, told), PALIGEMMA)


def find_vlm(folder: Path, config: Any, override: str | None = None) -> Path:
    """Return the folder with the tokeniser of a policy and, for SmolVLA, its language model's configuration.

    It is `override`, or `vlm` in the policy's folder, or what LeRobot would take: a folder, or a repository of the hub
    that is in its cache or can be downloaded.

    Raises:
        UserError: it is not here and cannot be downloaded; the message says how to get it.
    """
    if override is not None:
        if not Path(override).is_dir():
            raise UserError(f"there is no folder policy.vlm={override}: give the one that has the VLM's tokeniser")
        return Path(override)
    name = vlm_name(folder, config)
    for place in (folder / VLM, Path(name)):
        if place.is_dir():
            return place
    files = " ".join(f"--include '{pattern}'" for pattern in VLM_FILES)
    return _download(
        name,
        VLM_FILES,
        f"the tokeniser of '{name}', which this {config.type} policy needs, is not on this machine: get it by "
        f"`hf download {name} {files} --local-dir {folder / VLM}`",
    )


def copy_vlm(vlm: Path, folder: Path) -> None:
    """Put the files of a VLM, but not its weights, into `vlm` of a policy's folder."""
    (folder / VLM).mkdir()
    for pattern in VLM_FILES:
        for file in vlm.glob(pattern):
            shutil.copyfile(file, folder / VLM / file.name)


def build_vla(config: Any, vlm: Path) -> PreTrainedPolicy:
    """Return a policy without its weights; nothing is downloaded.

    Raises:
        UserError: packages are missing, the VLM's files cannot be read, or the policy does what is not served here.
    """
    if getattr(config, "use_relative_actions", False):
        raise UserError(
            f"this {config.type} policy gives actions relative to the state, which no `Policy` here does: "
            "fine-tune one without use_relative_actions"
        )
    config.compile_model = False
    if config.type != "smolvla":
        return _made(config, vlm)
    config.load_vlm_weights = False  # they are in the checkpoint
    name, config.vlm_model_name = config.vlm_model_name, str(vlm)
    try:
        return _made(config, vlm)
    finally:
        config.vlm_model_name = name


def load_vla_weights(policy: PreTrainedPolicy, path: Path) -> None:
    """Fill a policy with the weights of a file, also one that comes from openpi.

    Raises:
        UserError: they are of another policy, or only an adapter for one.
    """
    if not path.exists():
        raise UserError(
            f"{path} is not there: if the folder holds an adapter that LeRobot trained, merge it into its base policy "
            "and save that"
        )
    tensors = load_file(path)
    if hasattr(policy, "_fix_pytorch_state_dict_keys"):
        fixed = policy._fix_pytorch_state_dict_keys(tensors, policy.config)
        tensors = {key if key.startswith("model.") else f"model.{key}": tensor for key, tensor in fixed.items()}
    fill_weights(policy, _with_all_names(policy, tensors), path)


def _made(config: Any, vlm: Path) -> PreTrainedPolicy:
    try:
        return get_policy_class(config.type)(config)
    except ImportError as error:
        raise UserError(f"{config.type} needs further packages: `uv sync --inexact --extra vla` ({error})") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{vlm} does not hold what {config.type} needs of its VLM: {error}") from error


def _with_all_names(policy: PreTrainedPolicy, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give a tensor that goes by several names in the policy, and by some of them in the file, all of them."""
    groups: dict[tuple[int, Any], list[str]] = {}
    for name, tensor in policy.state_dict().items():
        groups.setdefault((tensor.data_ptr(), tensor.shape), []).append(name)
    complete = dict(tensors)
    for names in groups.values():
        saved = [name for name in names if name in tensors]
        complete |= {name: tensors[saved[0]] for name in names if saved and name not in tensors}
    return complete


def _download(name: str, files: tuple[str, ...] | None, otherwise: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=None if files is None else list(files)))
    except (OSError, ValueError) as error:
        raise UserError(otherwise) from error
