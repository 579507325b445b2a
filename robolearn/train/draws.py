"""Random numbers of a batch that is computed in parts: those which the whole batch would have drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

Fill = Callable[..., Tensor]

FILLS: dict[Callable[..., Tensor], Fill] = {
    torch.randn: Tensor.normal_,
    torch.randn_like: Tensor.normal_,
    torch.rand: Tensor.uniform_,
    torch.rand_like: Tensor.uniform_,
}
INTEGERS = (torch.randint, torch.randint_like)
IN_PLACE = (Tensor.normal_, Tensor.uniform_, Tensor.random_)


class Draws:
    """One stream of random numbers for all parts of a step.

    Every part draws for all rows of the batch and keeps its own, so that neither the number of parts nor who computes
    them changes what a sample gets, and all processes keep the same state of torch's generators. That holds for draws
    whose first dimension is a multiple of the part's rows (noise, times, offsets of crops). Others, such as the masks
    of dropout, come from a stream of the part's own.
    """

    def __init__(self, device: torch.device) -> None:
        """Draw on the CPU and on `device`."""
        self._generators = {kind: torch.Generator(kind) for kind in {torch.device("cpu"), device}}

    @contextmanager
    def step(self) -> Iterator[None]:
        """Surround the parts of one step; torch's generators go on behind the last draw for the batch."""
        self._restart = {device: _default(device).get_state() for device in self._generators}
        for device, generator in self._generators.items():
            generator.set_state(self._restart[device])
        try:
            yield
        finally:
            for device, generator in self._generators.items():
                _default(device).set_state(generator.get_state())

    @contextmanager
    def part(self, rows: slice, *, of: int, key: Sequence[int], shared: bool = True) -> Iterator[None]:
        """Let the block draw for these `rows` of a batch `of` so many; `key` names the part's own stream.

        Unless `shared`, all draws come from that stream.
        """
        for device, generator in self._generators.items():
            generator.set_state(self._restart[device])
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]))
        with _Rows(self._generators, rows, of) if shared else nullcontext():
            yield


class _Rows(TorchFunctionMode):
    """Overwrites what is drawn with the part's rows of a draw for the whole batch."""

    def __init__(self, generators: Mapping[torch.device, torch.Generator], rows: slice, total: int) -> None:
        super().__init__()
        self._generators = {device.type: generator for device, generator in generators.items()}
        self._rows, self._total = rows, total

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        options = kwargs or {}
        result = func(*args, **options)
        if options.get("generator") is not None:
            return result
        if func in FILLS:
            return self._overwrite(result, FILLS[func])
        if func in INTEGERS:
            bounds = [x for x in args if isinstance(x, int)]
            bounds += [options[name] for name in ("low", "high") if name in options]
            return self._overwrite(result, Tensor.random_, *([0, *bounds][-2:]))
        if func in IN_PLACE:
            return self._overwrite(args[0], func, *args[1:], **options)
        return result

    def _overwrite(self, drawn: Tensor, fill: Fill, *args: Any, **options: Any) -> Tensor:
        size = self._rows.stop - self._rows.start
        if drawn.ndim == 0 or len(drawn) % size:
            return drawn
        each = len(drawn) // size
        whole = torch.empty((self._total * each, *drawn.shape[1:]), dtype=drawn.dtype, device=drawn.device)
        fill(whole, *args, **options, generator=self._generators[drawn.device.type])
        with torch.no_grad():
            return drawn.copy_(whole[self._rows.start * each : self._rows.stop * each])


def _default(device: torch.device) -> torch.Generator:
    """Torch's own generator of a device."""
    if device.type == "cuda":
        return torch.cuda.default_generators[device.index]
    if device.type == "mps":
        return torch.mps._get_default_mps_generator()
    return torch.default_generator
