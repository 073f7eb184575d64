"""The data module: a fold of a cohort, served as slices or volumes on the device of whatever method the trainer has."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytorch_lightning as pl
import torch

from benchmark.cohort.folds import Folds, folds_within, read_fold_file
from benchmark.pipeline.cache import CachedCase, build_cache, open_entry
from benchmark.pipeline.datasets import Batch, MethodView, TrainingBatches, TrainingSamples, WholeCases
from benchmark.pipeline.preparation import nearest_slices
from benchmark.pipeline.sampling import EpochBatches, Key, case_batches, slice_batches, volume_batches
from benchmark.pipeline.store import Store
from leaderboard.cohort.case import Case, Partition
from leaderboard.cohort.formats import Cohort, read_cohort
from leaderboard.errors import InputError


class StrokeData(pl.LightningDataModule):
    """Training, validation and prediction cases of one fold.

    Args:
        cohort: folder of the cohort.
        folds: CSV with the fold of each case; None trains and predicts on all cases.
        fold: which fold is held out.
        partition: which partition of it.
        format: its format, one of `FORMATS`; None recognises it.
        cases: names of the only cases that are used; None uses all.
        cache: folder of the preprocessed cases; default ``$ISLES_BENCHMARK_CACHE`` or ``~/.cache/isles-benchmark``.
        seed: decides order, augmentation and crops.
        batch_size: slices or volumes a process and step.
        lesion_fraction: least share of slices with lesion in a batch (slices only).
        sampling: what an epoch serves equally often (slices only): ``slice``, each slice, so that a case of two slices
            is seen a tenth as often as one of twenty; ``case``, each case.
        augmented: False leaves the suite's augmentation out (for rules and checks, not for comparisons).
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
        format: str | None = None,
        cases: list[str] | None = None,
        cache: str | None = None,
        seed: int = 0,
        batch_size: int = 1,
        lesion_fraction: float = 0.0,
        sampling: Literal["slice", "case"] = "slice",
        augmented: bool = True,
        allow_leaky_folds: bool = False,
    ) -> None:
        super().__init__()
        limits = {
            "batch_size must be at least 1": batch_size >= 1,
            "lesion_fraction must be between 0 and 1": 0 <= lesion_fraction <= 1,
            "seed must be at least 0": seed >= 0,
        }
        if faults := [f"data.{rule}: correct the config" for rule, holds in limits.items() if not holds]:
            raise InputError(faults)
        self.cohort_path = Path(cohort)
        self.folds_path = None if folds is None else Path(folds)
        self.fold = fold
        self.partition = partition
        self.format = format
        self.cases = cases
        self.cache = Path(cache) if cache else default_cache()
        self.seed = seed
        self.batch_size = batch_size
        self.lesion_fraction = lesion_fraction
        self.sampling = sampling
        self.augmented = augmented
        self.allow_leaky_folds = allow_leaky_folds
        self._stores: dict[Any, Store] = {}
        self.training: list[CachedCase] = []
        self.held_out: list[CachedCase] = []
        self.held_out_cases: list[Case] = []

    def prepare_data(self) -> None:
        """Preprocess what is not in the cache yet (one process a machine)."""
        _ = self.entries

    @functools.cached_property
    def cohort(self) -> Cohort:
        """The cases of the tree; read once, as are the folds and the cache."""
        cohort = read_cohort(self.cohort_path, self.partition, self.format)
        if self.cases is None:
            return cohort
        return replace(cohort, cases=tuple(case for case in cohort.cases if case.name in self.cases))

    @functools.cached_property
    def fold_file(self) -> Folds | None:
        """The whole fold file, which may name more cases than the cohort has."""
        return None if self.folds_path is None else read_fold_file(self.folds_path, allow_leaky=self.allow_leaky_folds)

    @functools.cached_property
    def folds(self) -> Folds | None:
        """The folds of the cohort's cases."""
        return None if self.fold_file is None else folds_within(self.fold_file, self.cohort)

    @functools.cached_property
    def entries(self) -> dict[str, Path]:
        """The cache's entry of each case, checked when first used; its name is the digest of the case's content."""
        built = build_cache(self.cohort.cases, self.cohort.images, self.cache)
        return {case.name: entry for case, entry in zip(self.cohort.cases, built, strict=True)}

    @property
    def case_digests(self) -> dict[str, str]:
        """The digest of each case's content, by name."""
        return {name: entry.name for name, entry in self.entries.items()}

    def setup(self, stage: str) -> None:
        """Open the cases of this fold."""
        if self.held_out:
            return
        cases = {case.name: case for case in self.cohort.cases}
        training, held_out = list(cases), list(cases)
        if self.folds is not None:
            training, held_out = list(self.folds.training(self.fold)), list(self.folds.validation(self.fold))
        if stage == "fit" and not training:
            raise InputError(
                f"{self.folds_path}: leaves fold {self.fold} of {self.cohort_path} no case to train on: "
                "choose another fold, or give a cohort with more cases"
            )
        self.held_out_cases = [cases[name] for name in held_out]
        self.held_out = [open_entry(cases[name], self.entries[name]) for name in held_out]
        self.training = [open_entry(cases[name], self.entries[name]) for name in training]
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

    def train_dataloader(self) -> TrainingBatches | WholeCases:
        """Batches of augmented samples; an epoch serves every slice or volume once (but for ``sampling: case``)."""
        view = self._view()
        if view.raw:  # a rule takes its training cases as they are, each once
            return self._whole_cases(self.training)
        rank, ranks = self._ranks()
        sampler = EpochBatches(self._batches(view, self.batch_size * ranks), rank, ranks)
        samples = TrainingSamples(self._store(self.training), view, self.seed, self.augmented)
        assert self.trainer is not None
        return TrainingBatches(samples, sampler, self.trainer.max_epochs or 0)

    def val_dataloader(self) -> WholeCases:
        """The held-out cases, one at a time; equally many on each rank, with repeats, since they only make curves."""
        fill = -len(self.held_out) % self._ranks()[1]
        return self._whole_cases(self.held_out, fill)

    def predict_dataloader(self) -> WholeCases:
        """The held-out cases, one at a time, shared out to the ranks without duplicates."""
        return self._whole_cases(self.held_out)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Batches are made where they are needed."""
        return batch

    def _whole_cases(self, cached: Sequence[CachedCase], fill: int = 0) -> WholeCases:
        rank, ranks = self._ranks()
        places = [place % len(cached) for place in range(len(cached) + fill)]
        return WholeCases(self._store(cached), self._view(), places[rank::ranks])

    def _store(self, cached: Sequence[CachedCase]) -> Store:
        """The cases on the trainer's device; those that every epoch uses stay there."""
        assert self.trainer is not None
        device = self.trainer.strategy.root_device
        key = (device, tuple(case.name for case in cached))
        if key not in self._stores:
            # A prediction uses each case once, and so do rules, in physical units.
            once = self._view().raw or self.trainer.predicting
            self._stores[key] = Store(cached, device, resident=False if once else None)
        return self._stores[key]

    def _batches(self, view: MethodView, batch_size: int) -> Callable[[int], list[list[Key]]]:
        lesion = [
            case.lesion_slices[nearest_slices(view.preparation, case.depth, case.spacing_mm)].tolist()
            for case in self.training
        ]
        if view.view == "volumes":
            depths = [len(slices) for slices in lesion]
            return functools.lru_cache(2)(lambda epoch: volume_batches(depths, batch_size, self.seed, epoch))
        batches = case_batches if self.sampling == "case" else slice_batches
        return functools.lru_cache(2)(
            lambda epoch: batches(lesion, batch_size, self.seed, epoch, lesion_fraction=self.lesion_fraction)
        )

    def _view(self) -> MethodView:
        assert self.trainer is not None
        return self.trainer.lightning_module.method_view  # type: ignore[return-value]

    def _ranks(self) -> tuple[int, int]:
        assert self.trainer is not None
        return self.trainer.global_rank, self.trainer.world_size


def default_cache() -> Path:
    """Where preprocessed cases are kept when nobody says."""
    return Path(os.environ.get("ISLES_BENCHMARK_CACHE") or Path.home() / ".cache" / "isles-benchmark")
