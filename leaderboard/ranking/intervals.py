"""How precisely a mean is known, and how often one method beats another.

A mean's standard error is that of the patients (`resampling.cluster_errors`) and, where a method was trained several
times, of its trainings (`trainings`): the squares add up. The 95 % interval is the mean plus and minus Student's
quantile times the error, with one degree of freedom less than there are patients, or those of `trainings.freedoms`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from leaderboard.columns import METRICS
from leaderboard.ranking.exact import comparable, means
from leaderboard.ranking.matrices import Matrices
from leaderboard.ranking.rank_sets import LEVEL
from leaderboard.ranking.resampling import cluster_errors, draw
from leaderboard.ranking.schemes import SCHEMES
from leaderboard.ranking.trainings import freedoms, groups, mean_columns, trained


def margins(matrices: Matrices, name: str, unit: str, against: int | None = None) -> np.ndarray:
    """Half the widths of the 95 % intervals of the methods' means of a metric, or of their differences from a method's.

    Args:
        matrices: with the metric.
        name: of the metric.
        unit: what is independent, ``patient`` or ``case``.
        against: row of the method to compare with; None: the means themselves.

    Returns:
        Shape (methods,); NaN where there is a single unit.
    """
    from scipy.special import stdtrit

    drawn, found = draw(matrices, unit=unit, resamples=0, seed=0), groups(matrices)
    patients, columns = cluster_errors(matrices.values[name], drawn), mean_columns(matrices, name)
    several = trained(found, len(patients))
    if against is not None:
        several |= several[against]
        patients, columns = patients - patients[against], columns - columns[against]
    errors = np.sqrt((patients**2).sum(axis=1) + (columns**2).sum(axis=1))
    degrees = np.full(len(errors), drawn.units - 1.0)
    if found:
        degrees = np.where(several, freedoms(patients, columns, found, drawn.sizes), degrees)
    return np.asarray(errors * stdtrit(degrees, (1 + LEVEL) / 2))


def training_shares(matrices: Matrices, name: str, unit: str) -> np.ndarray:
    """The trainings' share of the squared standard error of each method's mean of a metric, shape (methods,).

    NaN where there is no error, or a single unit.
    """
    drawn = draw(matrices, unit=unit, resamples=0, seed=0)
    of_patients = (cluster_errors(matrices.values[name], drawn) ** 2).sum(axis=1)
    of_trainings = (mean_columns(matrices, name) ** 2).sum(axis=1)
    whole = of_patients + of_trainings
    return np.asarray(np.divide(of_trainings, whole, out=np.full(len(whole), np.nan), where=whole > 0))


def intervals(matrices: Matrices, name: str, unit: str) -> tuple[np.ndarray, np.ndarray]:
    """The 95 % interval of each method's mean of a metric, within the values that the metric may have.

    Returns:
        Lower and upper ends, shape (methods,) each; NaN where there is one patient.
    """
    mean, margin = means(matrices.values[name]), margins(matrices, name, unit)
    least, most = (METRICS[name].least, METRICS[name].most) if name in METRICS else (None, None)
    low, high = mean - margin, mean + margin
    return (low if least is None else np.maximum(low, least)), (high if most is None else np.minimum(high, most))


def judged_by(matrices: Matrices, scheme: str) -> Mapping[str, bool]:
    """The metrics that a scheme looks at, and whether more of each is better."""
    own = SCHEMES[scheme].metric
    return {own: True} if own else matrices.higher_is_better


class Chances:
    """How probable it is that the next training of a method beats that of another on the next patient.

    With x_asg the mean over patient g's cases of a metric (turned so that more is better), from training s of method a,

        P(a beats b) = 1/G sum over g of 1/(S_a S_b) sum over s, t of [x_asg > x_btg] + [x_asg = x_btg] / 2,

    the probability of superiority; the mean of it over several metrics. A method without several trainings has one,
    these very masks. (Bouthillier et al., Accounting for Variance in Machine Learning
    Benchmarks, MLSys 2021, call an improvement meaningful from 0.75 on.)
    """

    def __init__(self, matrices: Matrices, metrics: Mapping[str, bool], unit: str) -> None:
        """Average values over the cases of each unit.

        Args:
            matrices: with the metrics.
            metrics: what the methods are judged by, and whether more of each is better.
            unit: ``patient`` or ``case``.
        """
        of_unit = draw(matrices, unit=unit, resamples=0, seed=0).unit_of_case
        self._values = []
        for name, up in metrics.items():
            trained = matrices.trainings.values[name] if matrices.trainings else matrices.values[name][:, None]
            ends = np.cumsum([len(values) for values in trained])[:-1]
            together = comparable(_over_units(np.concatenate(trained), of_unit)) * (1 if up else -1)
            self._values.append(np.split(together, ends))

    def of(self, first: int, second: int) -> float:
        """P(first beats second), by their rows."""
        return float(means(np.array([_chances(own[first], own[second]).mean() for own in self._values])))

    def matrix(self, count: int) -> np.ndarray:
        """[a, b] is P(a beats b) among the first `count` methods; one half on the diagonal."""
        return np.array([[self.of(a, b) if a != b else 0.5 for b in range(count)] for a in range(count)])


def _over_units(values: np.ndarray, of_unit: np.ndarray) -> np.ndarray:
    """Means over each unit's cases, shape (trainings, units)."""
    return np.stack([means(values[:, of_unit == unit]) for unit in np.unique(of_unit)], axis=1)


def _chances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Share of the pairs of trainings in which the first is higher, ties counted by half, shape (units,)."""
    pairs = np.sign(first[:, None] - second[None, :])
    return np.asarray((pairs.mean(axis=(0, 1)) + 1) / 2)
