"""No lesion anywhere; nothing to train."""

from __future__ import annotations

from torch import Tensor

from benchmark.methods.base import RuleMethod
from benchmark.pipeline.datasets import Batch


class AllBackground(RuleMethod):
    """Predicts background in every voxel: Dice 0, recall 0, AVD = the lesion's volume."""

    def rule(self, batch: Batch) -> Tensor:
        """See `RuleMethod`."""
        return batch["brain"].new_zeros(batch["brain"].shape).bool()
