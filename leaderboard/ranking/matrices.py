"""Matrices of (method, case), which are ranked. Does not import pandas, so that --help lists the schemes at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np


@dataclass(frozen=True)
class Trainings:
    """The single trainings behind matrices that hold means over them; everything is by method, in its order.

    A method of which no training is known (a rule, masks from outside) has one row and no seeds.
    """

    seeds: tuple[tuple[int, ...], ...]  #: of each method's trainings
    folds: np.ndarray  #: number of the fold of each case, -1 where none is known, shape (methods, cases)
    values: Mapping[str, tuple[np.ndarray, ...]]  #: of each metric, shape (trainings, cases) each
    missing: tuple[np.ndarray, ...]  #: where there was no prediction, shape (trainings, cases) each
    #: by metric, as `Matrices.undefined`, shape (trainings, cases) each
    undefined: Mapping[str, tuple[np.ndarray, ...]] = field(default_factory=dict)

    def in_order(self, rows: Sequence[int]) -> Trainings:
        """The same trainings with the methods in another order."""

        def turned(values: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
            return tuple(values[row] for row in rows)

        return Trainings(
            tuple(self.seeds[row] for row in rows),
            self.folds[rows],
            {name: turned(values) for name, values in self.values.items()},
            turned(self.missing),
            {name: turned(values) for name, values in self.undefined.items()},
        )


@dataclass(frozen=True)
class Matrices:
    """What is ranked, as matrices of (method, case)."""

    methods: tuple[str, ...]  #: names, in the order of the rows
    cases: tuple[str, ...]  #: names, in the order of the columns
    patients: tuple[str, ...]  #: of each case; a case with an unknown patient counts as a patient of its own
    values: Mapping[str, np.ndarray]  #: of each metric, shape (methods, cases), complete: as the policy counts them
    missing: np.ndarray  #: shape (methods, cases), where there was no prediction
    higher_is_better: Mapping[str, bool]  #: the metrics to rank by, each with its direction
    #: by metric, where a value is undefined and no policy has a rule for it; `values` then holds the worst value of
    #: any method in any case
    undefined: Mapping[str, np.ndarray] = field(default_factory=dict)
    #: where methods were trained several times: `values` are then the means over the trainings; `missing` and
    #: `undefined` say where any training has none
    trainings: Trainings | None = None

    def in_order(self, order: Sequence[int]) -> Matrices:
        """The same matrices with the methods in another order."""
        rows = list(order)
        return replace(
            self,
            methods=tuple(self.methods[row] for row in rows),
            values={name: values[rows] for name, values in self.values.items()},
            missing=self.missing[rows],
            undefined={name: holes[rows] for name, holes in self.undefined.items()},
            trainings=self.trainings and self.trainings.in_order(rows),
        )

    def signed(self) -> list[np.ndarray]:
        """The metrics to rank by, shape (methods, cases) each, turned so that more is better."""
        return [self.values[name] * (1 if up else -1) for name, up in self.higher_is_better.items()]
