"""Measuring what a method costs, within a prediction; see `benchmark.commands.cost`, which imports no torch."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch

from benchmark.commands.cost_table import RUNS, Cost
from benchmark.machine.memory import reset_peak_memory
from benchmark.methods.base import Method, RuleMethod
from benchmark.pipeline.cache import build_cache, open_entry
from benchmark.pipeline.datamodule import StrokeData
from benchmark.pipeline.datasets import WholeCases
from benchmark.pipeline.store import Store
from benchmark.rundir.names import CONFIG, PREDICTIONS
from benchmark.training.callbacks import write_masks
from benchmark.training.job import peak_memory_mb_of
from benchmark.training.loading import load
from benchmark.training.multiplications import count_gmac
from leaderboard.cohort.formats import Cohort


def measure(method: str, scratch: Path) -> Cost:
    """Measure one method in this process, whatever it measured before.

    Args:
        method: its name.
        scratch: folder with its ``config.yaml``; temporary files go there too.

    Raises:
        InputError: its config does not fit.
    """
    reset_peak_memory()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    meter = CostMeter(method, scratch)
    trainer = {"logger": False, "callbacks": [meter], "enable_checkpointing": False, "limit_predict_batches": 1}
    changes = ("--trainer.devices=1", "--trainer.num_nodes=1", f"--predictions.folder={scratch / PREDICTIONS}")
    cli = load(scratch / CONFIG, trainer, *changes)
    cli.trainer.predict(cli.model, datamodule=cli.datamodule, return_predictions=False)
    assert meter.cost is not None
    return meter.cost


class CostMeter(pl.Callback):
    """Measures after the first prediction, which has warmed up the network.

    Args:
        method: its name.
        scratch: folder to write into.

    Attributes:
        cost: the result, once it is there.
    """

    def __init__(self, method: str, scratch: Path) -> None:
        self.method = method
        self.scratch = scratch
        self.cost: Cost | None = None

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Measure."""
        method = cast(Method, module)
        data: StrokeData = method.data

        def whole_case(run: int) -> None:
            cohort_now = replace(data.cohort, cases=data.cohort.cases[:1])
            _from_files_to_file(method, cohort_now, self.scratch / f"run{run}")

        # Lightning sets the precision only for its own steps, not for callbacks.
        with torch.inference_mode(), trainer.precision_plugin.predict_step_context():
            gmac = count_gmac(trainer, method, batch)
            works: list[Callable[[int], object]] = [whole_case]
            if not isinstance(method, RuleMethod):
                works.append(lambda run: method.predict_case(batch))
            case_seconds, *network_seconds = _median_seconds(works, method.device)
        depth, _, width = batch["brain"].shape
        self.cost = Cost(
            method=self.method,
            parameters=method.parameter_count,
            gmac=round(gmac, 1),
            network_seconds=round(network_seconds[0], 3) if network_seconds else 0.0,
            case_seconds=round(case_seconds, 3),
            peak_memory_mb=peak_memory_mb_of(method.device),
            slices=depth,
            size=width,
            precision=str(trainer.precision),
            device=torch.cuda.get_device_name()
            if method.device.type == "cuda"
            else f"{torch.get_num_threads()} CPU cores",
        )


def _from_files_to_file(method: Method, cohort: Cohort, cache: Path) -> None:
    """Everything that the prediction of a new case takes, preprocessing included."""
    (case,) = cohort.cases
    (entry,) = build_cache(cohort.cases, cohort.images, cache)
    item = WholeCases(Store([open_entry(case, entry)], method.device), method.method_view)[0]
    masks = method.predict_step(item, 0)["masks"]
    write_masks(cache / PREDICTIONS, case, masks)


def _median_seconds(works: Sequence[Callable[[int], object]], device: torch.device) -> list[float]:
    """Median time of each in `RUNS` rounds, after one that is not counted.

    They take turns, so that a busy moment affects all alike; the clock stops after the GPU has finished.
    """
    rounds = []
    for run in range(RUNS + 1):
        times = []
        for work in works:
            started = time.perf_counter()
            work(run)
            if device.type == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - started)
        rounds.append(times)
    return [statistics.median(times) for times in zip(*rounds[1:], strict=True)]
