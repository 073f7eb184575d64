"""Matrices of (method, case), which are ranked. Does not import pandas, so that --help lists the schemes at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np


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

    def in_order(self, order: Sequence[int]) -> Matrices:
        """The same matrices with the methods in another order."""
        rows = list(order)
        return replace(
            self,
            methods=tuple(self.methods[row] for row in rows),
            values={name: values[rows] for name, values in self.values.items()},
            missing=self.missing[rows],
            undefined={name: holes[rows] for name, holes in self.undefined.items()},
        )

    def signed(self) -> list[np.ndarray]:
        """The metrics to rank by, shape (methods, cases) each, turned so that more is better."""
        return [self.values[name] * (1 if up else -1) for name, up in self.higher_is_better.items()]
