"""Which precision a network computes in: what the config says, or what this machine is fast in.

bfloat16 halves what moves through memory, and hardware that multiplies it is several times faster than in float32;
hardware without it computes the same in software, tens of times slower. A comparison that is to be published says its
precision; others may leave the choice to the machine (``trainer.precision: auto``).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

AUTO, BF16, FP32 = "auto", "bf16-mixed", "32-true"

#: Instructions of x86 CPUs that multiply bfloat16.
_CPU_BF16 = ("amx_bf16", "avx512_bf16")


def with_precision(config: Mapping[str, Any]) -> dict[str, Any]:
    """A job's config whose ``trainer.precision`` is one of Lightning's: ``auto`` takes what this machine is fast in."""
    trainer = config.get("trainer", {})
    if trainer.get("precision") != AUTO:
        return dict(config)
    precision = BF16 if multiplies_bf16(str(trainer.get("accelerator", "auto"))) else FP32
    return {**config, "trainer": {**trainer, "precision": precision}}


def slow_precision(config: Mapping[str, Any]) -> str:
    """One line where a job's config asks for bfloat16 and this machine has none; else empty."""
    trainer = config.get("trainer", {})
    if not str(trainer.get("precision", "")).startswith("bf16") or multiplies_bf16(trainer.get("accelerator", "auto")):
        return ""
    return (
        f"this machine computes {trainer['precision']} in software, tens of times slower than float32: "
        f"give --set trainer.precision={AUTO}, which is {FP32} here"
    )


@functools.cache
def multiplies_bf16(accelerator: str) -> bool:
    """Whether the hardware of an accelerator (``auto``, ``cpu``, ``gpu``) multiplies bfloat16."""
    import torch

    if accelerator != "cpu" and torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in _CPU_BF16)
