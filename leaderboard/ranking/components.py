"""Whose variance is it: the patients', the trainings', or of both together?

For a method with S trainings, patients are crossed with the trainings of their fold. In fold k with n patients, x_ps is
the mean over patient p's cases under training s; the mean squares of its two-way analysis of variance without
repetition estimate

    E[MS_patients] = e + S p,    E[MS_trainings] = e + n t,    E[MS_rest] = e

(Searle, Casella, McCulloch, Variance Components, 1992, chapter 4). Mean squares are pooled over the folds by their
degrees of freedom, n over them likewise, and negative estimates count 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from leaderboard.ranking.matrices import Matrices
from leaderboard.ranking.resampling import draw
from leaderboard.ranking.trainings import groups


@dataclass(frozen=True)
class Components:
    """The parts of the variance of one patient's score under one training."""

    patients: float  #: what patients differ in under every training
    trainings: float  #: what trainings of a fold differ in for every patient
    rest: float  #: what a training does to single patients

    @property
    def shares(self) -> tuple[float, float, float]:
        """Each part over their sum; NaN where nothing varies."""
        parts = np.array([self.patients, self.trainings, self.rest])
        whole = float(parts.sum())
        return tuple((parts / whole).tolist()) if whole > 0 else (np.nan, np.nan, np.nan)


def variance_components(matrices: Matrices, name: str, unit: str) -> list[Components | None]:
    """The components of each method's values of a metric.

    Args:
        matrices: with the metric.
        name: of the metric.
        unit: ``patient`` or ``case``.

    Returns:
        By method; None where one training is known, or every fold has one patient.
    """
    of_unit = draw(matrices, unit=unit, resamples=0, seed=0).unit_of_case
    tables: dict[int, list[np.ndarray]] = {}
    for group in groups(matrices):
        assert matrices.trainings is not None
        values, own = matrices.trainings.values[name][group.method], np.where(group.cases, of_unit, -1)
        table = np.stack([values[:, own == unit].mean(axis=1) for unit in np.unique(of_unit[group.cases])], axis=1)
        tables.setdefault(group.method, []).append(table)
    return [_components(tables.get(method, [])) for method in range(len(matrices.methods))]


def _components(tables: list[np.ndarray]) -> Components | None:
    """From the folds' tables of (trainings, patients)."""
    tables = [table for table in tables if table.shape[1] > 1]
    if not tables:
        return None
    squares, degrees = np.zeros(3), np.zeros(3)
    for table in tables:
        trainings, patients = table.shape
        by_patient, by_training = table.mean(axis=0), table.mean(axis=1)
        rest = table - by_patient - by_training[:, None] + table.mean()
        squares += (
            trainings * ((by_patient - table.mean()) ** 2).sum(),
            patients * ((by_training - table.mean()) ** 2).sum(),
            (rest**2).sum(),
        )
        degrees += patients - 1, trainings - 1, (patients - 1) * (trainings - 1)
    of_patients, of_trainings, of_rest = squares / degrees
    size = float(np.mean([table.shape[1] for table in tables]))
    trainings = tables[0].shape[0]
    return Components(
        max((of_patients - of_rest) / trainings, 0.0), max((of_trainings - of_rest) / size, 0.0), float(of_rest)
    )
