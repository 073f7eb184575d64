"""A fold of a cohort, as the data module deals it out to processes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from benchmark.cohort.folds import Folds, write_fold_file
from benchmark.methods.base import Method
from benchmark.pipeline.cache import CachedCase
from benchmark.pipeline.datamodule import StrokeData
from leaderboard.cohort.formats import read_cohort
from leaderboard.errors import InputError


@pytest.fixture
def fold_of(tree: Path) -> dict[str, int]:
    """Fold by case of the fixture `tree`: its patients by turns."""
    cases = read_cohort(tree).cases
    patients = list(dict.fromkeys(case.patient for case in cases))
    return {case.name: patients.index(case.patient) % 2 for case in cases}


@pytest.fixture
def folds(tree: Path, fold_of: dict[str, int], tmp_path: Path) -> Path:
    """The fold file."""
    patient_of = {case.name: str(case.patient) for case in read_cohort(tree).cases}
    write_fold_file(tmp_path / "folds.csv", Folds(fold_of, patient_of))
    return tmp_path / "folds.csv"


class Slices(Method):
    """A method that looks at slices."""

    view = "slices"

    @property
    def max_epochs(self) -> int:
        return 1


def on_rank(data: StrokeData, rank: int, ranks: int) -> StrokeData:
    """The data module as in one of so many processes."""
    data.trainer = SimpleNamespace(  # type: ignore[assignment]
        global_rank=rank, world_size=ranks, predicting=True, lightning_module=Slices(),
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
    )  # fmt: skip
    return data


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"lesion_fraction": 1.5}, "lesion_fraction must be between 0 and 1"),
        ({"lesion_fraction": -0.1}, "lesion_fraction must be between 0 and 1"),
        ({"seed": -1}, "seed must be at least 0"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=f"data.{words}: correct the config"):
        StrokeData("cohort", **wrong)


def test_a_fold_is_held_out_and_the_others_are_trained_on(
    tree: Path, cache: Path, folds: Path, fold_of: dict[str, int]
) -> None:
    for fold in (0, 1):
        data = StrokeData(str(tree), str(folds), fold, cache=str(cache))
        data.setup("fit")
        assert [case.name for case in data.held_out] == [case for case, own in fold_of.items() if own == fold]
        assert [case.name for case in data.training] == [case for case, own in fold_of.items() if own != fold]
        assert [case.name for case in data.held_out_cases] == [case.name for case in data.held_out]


def test_without_folds_all_cases_are_trained_on_and_predicted(tree: Path, cache: Path) -> None:
    data = StrokeData(str(tree), cache=str(cache))
    data.setup("fit")
    assert (
        [case.number for case in data.training] == [case.number for case in data.held_out] == [18, 19, 20, 21, 22, 24]
    )


def test_cases_without_a_reference_are_predicted_and_not_trained_on(twin: Path, cache: Path) -> None:
    data = StrokeData(str(twin), partition="testing", cache=str(cache))
    with pytest.raises(InputError, match="has no references to train on"):
        data.setup("fit")
    data = StrokeData(str(twin), partition="testing", cache=str(cache))
    data.setup("predict")
    assert [case.number for case in data.held_out] == [1, 2]


def test_the_imbalance_counts_background_voxels_for_each_lesion_voxel_of_the_training_cases(
    cached: list[CachedCase],
) -> None:
    data = StrokeData("cohort")
    data.training, data.held_out = cached[:3], cached[3:]
    references = np.concatenate([np.ravel(case.reference) for case in cached[:3]])  # type: ignore[arg-type]
    assert data.background_per_lesion == pytest.approx((references == 0).sum() / (references == 1).sum())


@pytest.mark.parametrize("ranks", [1, 2, 4, 7])
def test_processes_predict_each_case_once_and_validate_equally_many(cached: list[CachedCase], ranks: int) -> None:
    predicted: list[int] = []
    validated: list[list[int]] = []
    for rank in range(ranks):
        data = StrokeData("cohort")
        data.held_out = cached[:6]
        predicted += [batch["case"] for batch in on_rank(data, rank, ranks).predict_dataloader()]
        validated.append([batch["case"] for batch in data.val_dataloader()])
    assert sorted(predicted) == list(range(6))
    assert {len(places) for places in validated} == {-(-6 // ranks)}
    assert {place for places in validated for place in places} == set(range(6))


def test_sampling_by_case_is_a_setting_and_by_slice_the_default(twin: Path, cache: Path) -> None:
    served = {}
    for sampling in ({}, {"sampling": "slice"}, {"sampling": "case"}):
        data = StrokeData(str(twin), cache=str(cache), **sampling)
        data.setup("fit")
        batches = on_rank(data, 0, 1)._batches(data._view(), 2)(0)  # depths are even: no batch is filled up
        counts = Counter(key.case for batch in batches for key in batch for _ in key.slices or ())
        served[str(sampling)] = (batches, [counts[case] for case in range(24)])
    (default, by_slice), (named, _), (_, by_case) = served.values()
    assert default == named
    assert by_slice == [case.depth for case in data.training]
    assert max(by_case) - min(by_case) <= 1
    assert sum(by_case) == sum(by_slice)
