"""How much a network computes for a case: multiply-accumulates, the same on every machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmark.methods.base import Method, RuleMethod
from benchmark.methods.layers import whole_volumes
from benchmark.pipeline.datasets import Batch


def gmac_of(compute: Callable[[], Any]) -> float:
    """10^9 multiply-accumulates of what is computed, of whole volumes as when they are not cut to save memory.

    Only convolutions and matrix products count: torch's counter knows no others.
    """
    with whole_volumes(), FlopCounterMode(display=False) as counter:
        compute()
    return counter.get_total_flops() / 2e9


def count_gmac(trainer: pl.Trainer, method: Method, batch: Batch) -> float:
    """10^9 multiply-accumulates (`gmac_of`) of the pass over one case as `WholeCases` serves it; 0 for rules."""
    if isinstance(method, RuleMethod):
        return 0.0
    with torch.inference_mode(), trainer.precision_plugin.predict_step_context():
        return gmac_of(lambda: method.predict_case(batch))


class CountMultiplications(pl.Callback):
    """Counts on the first predicted case.

    Attributes:
        gmac_per_slice: the count divided by the case's slices; 0 until it is known.
    """

    gmac_per_slice: float = 0.0

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count once."""
        if batch_idx == 0:
            self.gmac_per_slice = count_gmac(trainer, cast(Method, module), batch) / len(batch["brain"])
