"""Rows of cases.csv, built by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from leaderboard.cases import cases_frame
from leaderboard.ranking.matrices import Matrices, Trainings

NAN = float("nan")

Builder = Callable[[Mapping[str, Sequence[dict[str, object]]]], pd.DataFrame]


def row(method: str, number: int, **values: object) -> dict[str, object]:
    """A sound row; given values replace its own."""
    sound: dict[str, object] = {
        "method": method, "case": f"case_{number}", "patient": f"P{number}", "status": "ok",
        "dice": 0.5, "hausdorff_mm": 10.0, "precision": 0.5, "recall": 0.5, "avd_ml": 1.0,
        "reference_ml": 10.0, "predicted_ml": 11.0,
        "hd95_mm": 8.0, "assd_mm": 2.0, "volume_difference_ml": 1.0, "reference_lesions": 1, "predicted_lesions": 2,
        "lesion_count_difference": 1, "lesion_f1": 0.5, "core_agreement": 1, "diagonal_mm": 200.0,
        "inplane_nsd": 0.5, "inplane_hd95_mm": 8.0, "inplane_assd_mm": 2.0, "relative_volume_error": 0.1,
        "lesion_f1_iou20": 0.5, "lesion_f1_iou25": 0.5, "lesion_recall_1_to_10ml": 1.0, "reference_lesions_6": 1,
        "lesion_count_difference_6": 1,
    }  # fmt: skip
    return {**sound, **values}


def without_prediction(method: str, number: int, **values: object) -> dict[str, object]:
    """A row of status missing."""
    kept = ("method", "case", "patient", "reference_ml", "reference_lesions", "reference_lesions_6", "diagonal_mm")
    return {
        **{name: value for name, value in row(method, number).items() if name in kept},
        "status": "missing",
    } | values


@pytest.fixture(name="row")
def row_fixture() -> Callable[..., dict[str, object]]:
    """`row`."""
    return row


@pytest.fixture(scope="session")
def build() -> Builder:
    """From each method's rows, given as differences from a sound row, to a frame of cases."""

    def make(methods: Mapping[str, Sequence[dict[str, object]]]) -> pd.DataFrame:
        return cases_frame(
            [
                (without_prediction if values.get("status") == "missing" else row)(method, number, **values)
                for method, rows in methods.items()
                for number, values in enumerate(rows, start=1)
            ]
        )

    return make


def make_matrices(
    values: np.ndarray | dict[str, np.ndarray], patients: Sequence[object] | None = None, **directions: bool
) -> Matrices:
    """Cases from matrices of (method, case), the first method being m0; by default Dice, where higher is better."""
    matrices = values if isinstance(values, dict) else {"dice": values}
    matrices = {name: np.asarray(matrix, dtype=float) for name, matrix in matrices.items()}
    methods, cases = next(iter(matrices.values())).shape
    return Matrices(
        methods=tuple(f"m{number}" for number in range(methods)),
        cases=tuple(f"case_{number}" for number in range(cases)),
        patients=tuple(map(str, patients if patients is not None else range(cases))),
        values=matrices,
        missing=np.zeros((methods, cases), dtype=bool),
        higher_is_better=directions or dict.fromkeys(matrices, True),
    )


def make_trained(
    by_seed: dict[str, Sequence[np.ndarray]], folds: Sequence[int], patients: Sequence[object] | None = None, **up: bool
) -> Matrices:
    """As `make_matrices`, from each method's values of its trainings, shape (trainings, cases) each."""
    values = {name: tuple(np.asarray(each, dtype=float) for each in methods) for name, methods in by_seed.items()}
    matrices = make_matrices(
        {n: np.stack([each.mean(axis=0) for each in v]) for n, v in values.items()}, patients, **up
    )
    first = next(iter(values.values()))
    trainings = Trainings(
        seeds=tuple(tuple(range(len(each))) if len(each) > 1 else () for each in first),
        folds=np.tile(np.asarray(folds), (len(first), 1)),
        values=values,
        missing=tuple(np.zeros(each.shape, dtype=bool) for each in first),
    )
    return replace(matrices, trainings=trainings)


def simulate(
    random: np.random.Generator,
    *,
    methods: int = 20,
    step: float = 0.003,
    slabs: Sequence[int] = (1,) * 63,
    case_sd: float = 0.3,
    method_correlation: float = 0.7,
    slab_correlation: float = 0.0,
    metrics: Sequence[str] = ("dice",),
    seeds: int = 1,
    folds: int = 1,
    training_sd: float = 0.0,
    case_training_sd: float = 0.0,
) -> Matrices:
    """Method j has the true mean -j * step, so its true rank is j + 1.

    Args:
        random: generator.
        methods: how many.
        step: between neighbours.
        slabs: cases of each patient.
        case_sd: standard deviation of a case's score.
        method_correlation: between two methods' scores of a case.
        slab_correlation: between two cases of a patient, of each method's own part too.
        metrics: independent of each other, higher is better.
        seeds: trainings of each method on each fold.
        folds: patients are dealt to them in turn.
        training_sd: standard deviation of what a training adds to all cases of its fold.
        case_training_sd: of what it adds to each case apart.
    """
    patient = np.repeat(np.arange(len(slabs)), slabs)

    def noise(count: int) -> np.ndarray:
        shared = np.sqrt(method_correlation) * random.standard_normal((1, count))
        return case_sd * (shared + np.sqrt(1 - method_correlation) * random.standard_normal((methods, count)))

    means = -step * np.arange(methods)[:, None]
    values = {
        name: means
        + np.sqrt(slab_correlation) * noise(len(slabs))[:, patient]
        + np.sqrt(1 - slab_correlation) * noise(len(patient))
        for name in metrics
    }
    if training_sd == case_training_sd == 0 and seeds == 1:
        return make_matrices(values, patient.tolist())
    fold = patient % folds
    trained = {
        name: [
            row
            + (training_sd * random.standard_normal((seeds, folds)))[:, fold]
            + case_training_sd * random.standard_normal((seeds, len(patient)))
            for row in matrix
        ]
        for name, matrix in values.items()
    }
    return make_trained(trained, fold.tolist(), patient.tolist())


@pytest.fixture
def matrices_of() -> Callable[..., Matrices]:
    """`make_matrices`."""
    return make_matrices


@pytest.fixture
def trained_of() -> Callable[..., Matrices]:
    """`make_trained`."""
    return make_trained


@pytest.fixture
def challenge() -> Callable[..., Matrices]:
    """`simulate`."""
    return simulate
