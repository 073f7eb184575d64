"""The rows T38, T30, RAPID-like, Tmax6 and Tfit: one rule with different settings."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from benchmark.methods.base import RuleMethod, on_host, to_host
from benchmark.methods.perfusion_threshold import rules
from benchmark.methods.perfusion_threshold.memo import FlowMemo
from benchmark.pipeline.datasets import Batch
from leaderboard.errors import InputError

#: One process computes all rows of a fold, from the same cases.
_FLOWS = FlowMemo()
#: Thresholds on rCBF that Tfit chooses from.
CANDIDATES = np.arange(15, 61) / 100


class PerfusionThreshold(RuleMethod):
    """Lesion is where relative CBF is low, Tmax is long, or both.

    Args:
        rcbf_below: threshold on CBF relative to the opposite hemisphere; None leaves CBF out. Where `fitted`, the
            value until the fit.
        tmax_above: threshold on Tmax in s; None leaves Tmax out.
        smallest_ml: connected components of a smaller volume are dropped.
        fitted: choose `rcbf_below` from 0.15 to 0.60 by the mean Dice over the training cases (needs one epoch).

    Raises:
        InputError: neither threshold is given, or the fit is asked for beside other conditions.
    """

    maps = ("CT", "CBF", "Tmax")
    rcbf: Tensor
    cases: int
    dice_sums: np.ndarray

    def __init__(
        self,
        rcbf_below: float | None = None,
        tmax_above: float | None = None,
        smallest_ml: float = 0.0,
        fitted: bool = False,
    ) -> None:
        super().__init__()
        if rcbf_below is None and tmax_above is None:
            raise InputError(
                "model.init_args: perfusion_threshold needs rcbf_below, tmax_above or both: correct the config"
            )
        if fitted and (rcbf_below is None or tmax_above is not None or smallest_ml > 0):
            raise InputError(
                "model.init_args: perfusion_threshold fits rcbf_below alone, without tmax_above and smallest_ml: "
                "correct the config"
            )
        self.save_hyperparameters()
        self.tmax_above = tmax_above
        self.smallest_ml = smallest_ml
        self.fitted = fitted
        # A buffer, so that a checkpoint holds what was fitted; NaN where CBF is left out.
        start = float("nan") if rcbf_below is None else rcbf_below
        self.register_buffer("rcbf", torch.tensor(start, dtype=torch.float64))
        self._forget()

    def rule(self, batch: Batch) -> Tensor:
        """See `RuleMethod`."""

        def segment(brain: np.ndarray, image: np.ndarray, rcbf: np.ndarray) -> np.ndarray:
            return rules.segment(
                self._flow(brain, image, batch),
                batch["spacing_mm"],
                rcbf_below=None if np.isnan(rcbf) else float(rcbf),
                tmax_above=self.tmax_above,
                smallest_ml=self.smallest_ml,
            )

        return on_host(segment, batch["brain"], batch["image"], self.rcbf).bool()

    def on_train_epoch_start(self) -> None:
        """Start the sums anew, after an interrupted epoch too."""
        self._forget()

    def fit_case(self, batch: Batch) -> None:
        """Dice of every candidate on one case."""
        if self.fitted:
            brain, image, reference = to_host(batch["brain"], batch["image"], batch["reference"])
            self.dice_sums = self.dice_sums + rules.dice_by_threshold(
                self._flow(brain, image, batch), reference, CANDIDATES
            )
            self.cases += 1

    def fit_finish(self) -> None:
        """Choose the threshold from the sums of all processes."""
        if not self.fitted:
            return
        sums = torch.tensor([*self.dice_sums, self.cases], dtype=torch.float64, device=self.device)
        if self._trainer is not None:
            sums = self.trainer.strategy.reduce(sums, reduce_op="sum")
        *dice_sums, cases = sums.tolist()
        self.rcbf.fill_(rules.best_threshold(np.asarray(dice_sums), cases, CANDIDATES))
        self._forget()

    def _forget(self) -> None:
        # Plain attributes: DDP would overwrite buffers with those of the first process.
        self.dice_sums = np.zeros(len(CANDIDATES))
        self.cases = 0

    def _flow(self, brain: np.ndarray, image: np.ndarray, batch: Batch) -> rules.Flow:
        """`rules.measure_flow` of a case as `WholeCases` serves it, in physical units; once in a process."""
        ct, cbf, tmax = (image[place] for place in self.places)
        return _FLOWS.measured(rules.measure_flow, ct, cbf, tmax, brain, batch["spacing_mm"], batch["midline"])
