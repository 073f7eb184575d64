"""The data module: a fold of a cohort, served as slices or volumes to whatever method the trainer has."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from torch.utils.data import DataLoader

from benchmark.cohort.folds import folds_within, read_folds
from benchmark.pipeline.cache import CachedCase, build_cache, open_entry
from benchmark.pipeline.datasets import Batch, MethodView, TrainingSamples, WholeCases, collate, only
from benchmark.pipeline.sampling import EpochBatches, Key, slice_batches, volume_batches
from leaderboard.cohort import Case, Partition, read_cohort
from leaderboard.errors import InputError
from leaderboard.pool import cores

#: Loader processes of a GPU; more wait for the network with all methods and up to 50 TFLOP/s (docs/scaling.md).
MOST_WORKERS = 12


class StrokeData(pl.LightningDataModule):
    """Training, validation and prediction cases of one fold.

    Args:
        cohort: folder of the ISLES tree.
        folds: CSV with the fold of each case; None trains and predicts on all cases.
        fold: which fold is held out.
        partition: which partition of the tree.
        cache: folder of the preprocessed cases; default ``$ISLES_BENCHMARK_CACHE`` or ``~/.cache/isles-benchmark``.
        seed: decides order, augmentation and crops.
        batch_size: slices or volumes a process and step.
        lesion_fraction: least share of slices with lesion in a batch (slices only).
        augmented: False leaves the suite's augmentation out (for rules and checks, not for a comparison).
        num_workers: loader processes; None takes what the machine has beside its GPUs' own processes, and none on CPUs,
            where every core has a network to compute. It decides speed, never a sample.
        allow_leaky_folds: accept folds that split a patient.
    """

    #: With fewer cases than processes, some have nothing to predict.
    allow_zero_length_dataloader_with_multiple_devices = True

    def __init__(
        self,
        cohort: str,
        folds: str | None = None,
        fold: int = 0,
        partition: Partition = "training",
        cache: str | None = None,
        seed: int = 0,
        batch_size: int = 1,
        lesion_fraction: float = 0.0,
        augmented: bool = True,
        num_workers: int | None = None,
        allow_leaky_folds: bool = False,
    ) -> None:
        super().__init__()
        limits = {
            "batch_size must be at least 1": batch_size >= 1,
            "num_workers must be at least 0": num_workers is None or num_workers >= 0,
            "lesion_fraction must be between 0 and 1": 0 <= lesion_fraction <= 1,
            "seed must be at least 0": seed >= 0,
        }
        if faults := [f"data.{rule}: correct the config" for rule, holds in limits.items() if not holds]:
            raise InputError(faults)
        self.cohort_path = Path(cohort)
        self.folds_path = None if folds is None else Path(folds)
        self.fold = fold
        self.partition = partition
        self.cache = Path(cache) if cache else default_cache()
        self.seed = seed
        self.batch_size = batch_size
        self.lesion_fraction = lesion_fraction
        self.augmented = augmented
        self.num_workers = num_workers
        self.allow_leaky_folds = allow_leaky_folds
        self._loader: ResumableLoader | None = None
        self._carried: dict[str, int] = {}
        self.training: list[CachedCase] = []
        self.held_out: list[CachedCase] = []
        self.held_out_cases: list[Case] = []

    def prepare_data(self) -> None:
        """Preprocess what is not in the cache yet (one process a machine)."""
        cohort = read_cohort(self.cohort_path, self.partition)
        build_cache(cohort.cases, cohort.channels, self.cache)

    def setup(self, stage: str) -> None:
        """Open the cases of this fold."""
        if self.held_out:
            return
        cohort = read_cohort(self.cohort_path, self.partition)
        cases = {case.name: case for case in cohort.cases}
        training, held_out = list(cases), list(cases)
        if self.folds_path is not None:
            folds = folds_within(read_folds(self.folds_path, allow_leaky=self.allow_leaky_folds), cohort)
            training, held_out = list(folds.training(self.fold)), list(folds.validation(self.fold))
        if stage == "fit" and not training:
            raise InputError(
                f"{self.folds_path}: leaves fold {self.fold} of {self.cohort_path} no case to train on: "
                "choose another fold, or give a cohort with more cases"
            )
        entries = dict(zip(cases, build_cache(cohort.cases, cohort.channels, self.cache), strict=True))
        self.held_out_cases = [cases[name] for name in held_out]
        self.held_out = [open_entry(cases[name], entries[name]) for name in held_out]
        self.training = [open_entry(cases[name], entries[name]) for name in training]
        if stage == "fit" and any(case.reference is None for case in self.training):
            raise InputError(f"{self.cohort_path}: has no references to train on: use its training partition")

    @property
    def channels(self) -> int:
        """How many images each case has."""
        return len(self.held_out[0].channels)

    @functools.cached_property
    def background_per_lesion(self) -> float:
        """Background voxels for each lesion voxel in the training cases."""
        lesion = sum(np.count_nonzero(case.reference) for case in self.training if case.reference is not None)
        voxels = sum(case.brain.size for case in self.training)
        return (voxels - lesion) / max(lesion, 1)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches of augmented samples; an epoch serves every slice or volume once."""
        view = self._view()
        if view.raw:  # a rule looks at its training cases as they are, each once
            return self._whole_cases(self.training)
        ranks = self._ranks()
        sampler = EpochBatches(self._batches(view, self.batch_size * ranks[1]), *ranks)
        samples = TrainingSamples(self.training, view, self.seed, self.augmented)
        loader = ResumableLoader(samples, batch_sampler=sampler, collate_fn=collate, **self._workers())
        loader.trainer = self.trainer
        if self._carried:
            loader.load_state_dict(self._carried)
        self._loader = loader
        return loader

    def state_dict(self) -> dict[str, int]:
        """How far the training loader is.

        Lightning keeps a loader's own state too, but gives it back only to a loader that is made after the checkpoint
        was read; a method that asks for the number of steps in `configure_optimizers` has it made before.
        """
        return {} if self._loader is None else self._loader.state_dict()

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Take the training up where it was, in the loader that is there or in the one to come."""
        self._carried = state_dict
        if self._loader is not None and state_dict:
            self._loader.load_state_dict(state_dict)

    def val_dataloader(self) -> DataLoader[Batch]:
        """The held-out cases, one at a time; as many on each rank, with repeats, since this is for the curves."""
        fill = -len(self.held_out) % self._ranks()[1]
        return self._whole_cases((self.held_out * (fill + 1))[: len(self.held_out) + fill])

    def predict_dataloader(self) -> DataLoader[Batch]:
        """The held-out cases, one at a time, shared out to the ranks without duplicates."""
        return self._whole_cases(self.held_out)

    def _whole_cases(self, cached: Sequence[CachedCase]) -> DataLoader[Batch]:
        rank, ranks = self._ranks()
        share = range(rank, len(cached), ranks)
        cases = WholeCases(cached, self._view())
        return DataLoader(cases, batch_size=1, sampler=share, collate_fn=only, **self._workers())

    def _batches(self, view: MethodView, batch_size: int) -> Callable[[int], list[list[Key]]]:
        lesion = [
            view.preparation.lesion_slices(case.lesion_slices, case.spacing_mm).tolist() for case in self.training
        ]
        if view.view == "volumes":
            depths = [len(slices) for slices in lesion]
            return functools.partial(_volume_epoch, depths, batch_size, self.seed)
        return functools.partial(_slice_epoch, lesion, batch_size, self.seed, self.lesion_fraction)

    def _view(self) -> MethodView:
        assert self.trainer is not None
        method = self.trainer.lightning_module
        view: MethodView = method.method_view  # type: ignore[assignment]
        return view

    def _ranks(self) -> tuple[int, int]:
        assert self.trainer is not None
        return self.trainer.global_rank, self.trainer.world_size

    def _workers(self) -> dict[str, Any]:
        assert self.trainer is not None
        on_gpu = self.trainer.strategy.root_device.type == "cuda"
        workers = self.num_workers
        if workers is None:
            workers = workers_for(cores(), self.trainer.num_devices) if on_gpu else 0
        ahead = {"persistent_workers": True, "prefetch_factor": 4} if workers else {}
        return {"num_workers": workers, "pin_memory": on_gpu, "worker_init_fn": _one_thread, **ahead}


class ResumableLoader(DataLoader[Batch]):
    """A training loader that goes on within an epoch where a checkpoint of the trainer was taken.

    Attributes:
        trainer: knows how many batches of the epoch it has trained on (workers may have loaded more).
    """

    trainer: pl.Trainer | None = None

    def state_dict(self) -> dict[str, int]:
        """Lightning keeps this in its checkpoints: the epoch, and how many of its batches are done."""
        assert self.trainer is not None
        done = self.trainer.fit_loop.epoch_loop.batch_progress.current.ready
        return {"epoch": self.trainer.current_epoch, "batches": done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Leave out what is done."""
        sampler: EpochBatches = self.batch_sampler  # type: ignore[assignment]
        sampler.resume(state["epoch"], state["batches"])


def _volume_epoch(depths: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[list[Key]]:
    return volume_batches(depths, batch_size, seed, epoch)


def _slice_epoch(
    lesion: Sequence[Sequence[bool]], batch_size: int, seed: int, lesion_fraction: float, epoch: int
) -> list[list[Key]]:
    return slice_batches(lesion, batch_size, seed, epoch, lesion_fraction=lesion_fraction)


def workers_for(processors: int, gpus: int) -> int:
    """Loader processes for each of a machine's GPUs: its share of the cores but one, 1 to `MOST_WORKERS`."""
    return min(max(processors // gpus - 1, 1), MOST_WORKERS)


def _one_thread(worker: int) -> None:
    """Loader processes resample with one thread each; the network has the other cores."""
    import SimpleITK
    import torch

    torch.set_num_threads(1)
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)


def default_cache() -> Path:
    """Where preprocessed cases are kept when nobody says."""
    return Path(os.environ.get("ISLES_BENCHMARK_CACHE") or Path.home() / ".cache" / "isles-benchmark")
