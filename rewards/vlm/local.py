"""A vision-language model of Hugging Face transformers, from a folder, in this process."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from PIL import Image as PilImage
from transformers import AutoModelForImageTextToText, AutoProcessor

from robolearn.errors import UserError
from robolearn.rewards.vlm.answers import AnswerError
from robolearn.rewards.vlm.prompts import Request

PROCESSOR: Any = AutoProcessor  # half typed
MODEL: Any = AutoModelForImageTextToText
OFFLINE: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}


class LocalModel:
    """Answers greedily, so that the same question gets the same answer. Satisfies `Backend`.

    Questions about equally many pictures of one size make a batch.
    """

    def __init__(self, folder: Path, *, device: str = "auto", max_tokens: int = 64) -> None:
        """Load model and processor; nothing is downloaded, no pickle is read and no code of the folder is run.

        Args:
            folder: what `save_pretrained` of both has written.
            device: "auto" (a GPU where there is one), "cpu", "cuda", ...
            max_tokens: longest answer.

        Raises:
            UserError: the folder does not hold such a model with a chat template, or there is no such device.
        """
        if not folder.is_dir():
            raise UserError(
                f"there is no folder '{folder}': give one with a vision-language model, or the endpoint's url"
            )
        self._folder, self._max_tokens, self._lock = folder, max_tokens, Lock()
        self._device = _device(device)
        dtype = torch.float32 if self._device.type == "cpu" else "auto"
        self._processor: Any
        self._model: Any
        try:
            self._processor = PROCESSOR.from_pretrained(folder, **OFFLINE)
            self._model = MODEL.from_pretrained(folder, dtype=dtype, use_safetensors=True, **OFFLINE)
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise UserError(
                f"'{folder}' cannot be read as a vision-language model with its processor: {error}"
            ) from error
        if not getattr(self._processor, "chat_template", None):
            raise UserError(f"'{folder}' has no chat template: take a model that was trained to follow instructions")
        self._model.to(self._device).eval()
        tokenizer = self._processor.tokenizer
        tokenizer.padding_side = "left"  # answers begin where prompts end
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token

    @cached_property
    def name(self) -> str:
        """SHA-256 of the folder's files: answers of other weights, which may lie at the same place, are not its own."""
        return f"sha256:{_digest(self._folder)}"

    def ask(self, requests: Sequence[Request]) -> list[str | AnswerError]:
        """Return what the model says to each request."""
        answers: dict[int, str | AnswerError] = {}
        for places in _alike(requests):
            said = self._generate([requests[i] for i in places])
            answers |= zip(places, said, strict=True)
        return [answers[i] for i in range(len(requests))]

    def close(self) -> None:
        """Let go of the weights."""
        self._model = None

    def _generate(self, requests: Sequence[Request]) -> list[str]:
        with self._lock, torch.inference_mode():
            inputs = self._processor.apply_chat_template(
                [_chat(request) for request in requests],
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                processor_kwargs={"padding": True, "return_tensors": "pt"},
            ).to(self._device, self._model.dtype)
            tokens = self._model.generate(**inputs, do_sample=False, max_new_tokens=self._max_tokens)
        new = tokens[:, inputs["input_ids"].shape[1] :]
        said: list[str] = self._processor.batch_decode(new, skip_special_tokens=True)
        return said


def _chat(request: Request) -> list[dict[str, Any]]:
    pictures = [{"type": "image", "image": PilImage.fromarray(frame)} for frame in request.frames]
    return [{"role": "user", "content": [*pictures, {"type": "text", "text": request.prompt.text}]}]


def _alike(requests: Sequence[Request]) -> list[list[int]]:
    """Places of requests, grouped by the shapes of their pictures."""
    groups: dict[tuple[tuple[int, ...], ...], list[int]] = {}
    for i, request in enumerate(requests):
        groups.setdefault(tuple(frame.shape for frame in request.frames), []).append(i)
    return list(groups.values())


def _digest(folder: Path) -> str:
    total = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        with path.open("rb") as file:
            total.update(f"{path.name}\n".encode() + hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(f"there is no device '{name}' here: give auto, cpu, or one that is") from error
