"""What a job computes on, a GPU or CPUs, and how much memory that has."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any


def on_cpu(config: Mapping[str, Any]) -> bool:
    """Whether a job computes on CPUs even where there are GPUs, as the shipped rules do."""
    return bool(config.get("trainer", {}).get("accelerator") == "cpu")


def memory_of(config: Mapping[str, Any]) -> int:
    """Bytes of what a job of this config would compute on here: the smallest GPU, or this machine."""
    return min([] if on_cpu(config) else gpu_memories(), default=machine_memory())


def machine_memory() -> int:
    """Bytes of this machine, GPUs apart."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def gpu_memories() -> list[int]:
    """Bytes of each visible GPU, asked of its driver: no memory of the GPU is taken."""
    import torch

    return [torch.cuda.get_device_properties(index).total_memory for index in range(torch.cuda.device_count())]
