"""A method as it is within a training, without the training: what the tests of recipes share."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, TypeVar

import torch

from benchmark.methods.base import Method

AnyMethod = TypeVar("AnyMethod", bound=Method)


def running(method: AnyMethod, epoch: int = 0, epochs: int = 1, steps: int = 1, **data: Any) -> AnyMethod:
    """The method with a trainer on the CPU.

    Args:
        method: returned.
        epoch: the running one.
        epochs: of the whole training.
        steps: likewise.
        **data: attributes of the data module.
    """
    method.trainer = SimpleNamespace(  # type: ignore[assignment]
        current_epoch=epoch, max_epochs=epochs, estimated_stepping_batches=steps, datamodule=SimpleNamespace(**data),
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
    )  # fmt: skip
    return method


def batch_of(shape: tuple[int, ...]) -> dict[str, torch.Tensor]:
    """A batch whose samples hold a lesion in rows 2 to 4, columns 3 to 6; part of the last sample is padding."""
    reference = torch.zeros(shape)
    reference[..., 2:5, 3:7] = 1
    valid = torch.ones(shape, dtype=torch.bool)
    valid[-1, 0] = False
    return {"reference": reference, "valid": valid}
