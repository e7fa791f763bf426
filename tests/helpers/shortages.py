"""Memory that runs out at a stated operation of torch."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

MESSAGES: tuple[Exception, ...] = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    MemoryError(),
)


class Shortage(TorchDispatchMode):
    """Within it the operations numbered `first` to `last` (from 1, forward and backward) fail; none by default."""

    def __init__(self, first: int = 0, last: int | None = None, error: Exception = MESSAGES[0]) -> None:
        super().__init__()
        self.first, self.last, self.error = first, first if last is None else last, error
        self.seen = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen += 1
        if self.first <= self.seen <= self.last:
            raise self.error
        return func(*args, **(kwargs or {}))
