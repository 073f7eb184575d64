"""How much scores would move if the methods were trained again.

The estimand is the expected score of one training, estimated by the mean over a method's S trainings (seeds). A fold is
trained apart from the others, so its mean varies by itself: with s_k the standard deviation of the fold's mean over the
seeds (S - 1 in the denominator) and w_k the fold's share of the cases, the variance of the method's score is

    v = sum over folds of w_k^2 s_k^2 / S,

and that of a difference of two methods the patients' part plus v_a + v_b. Everything here is a *column*: what one
training of one fold adds to the error of each method's score, its deviation from the mean of its fold times
w_k / sqrt(S (S - 1)). The squares of a method's columns sum to v; drawing S of a fold's S columns with replacement and
adding them up gives an error of variance v (a bootstrap of the deviations, scaled by sqrt(S / (S - 1)) because those of
so few are too small: Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8).

Such a variance has few degrees of freedom. Satterthwaite's (Biometrics Bulletin 2(6), 1946) for a difference are

    (p + sum of v_k)^2 / (p^2 / (G* - 1) + sum of v_k^2 / (S_k - 1))

with p the patients' part of its variance, v_k that of each fold of either method, and G* = (sum of n^2)^2 / (sum of
n^4) the number of patients that G patients with n cases each are worth: an error that rests on a few patients with many
slabs varies more than one that rests on all alike.

A method with one training, masks from outside or nothing to train has no columns: its score stands for these very
networks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from leaderboard.ranking.exact import comparable, means
from leaderboard.ranking.matrices import Matrices, Trainings


class Group(NamedTuple):
    """The trainings of one method on one fold."""

    method: int  #: its row
    cases: np.ndarray  #: which cases they predicted, boolean, shape (cases,)
    columns: slice  #: one for each training

    @property
    def trainings(self) -> int:
        """Their number S, at least 2."""
        return int(self.columns.stop - self.columns.start)

    @property
    def scale(self) -> float:
        """1 / sqrt(S (S - 1))."""
        return 1 / math.sqrt(self.trainings * (self.trainings - 1))


def groups(matrices: Matrices) -> list[Group]:
    """The groups of all methods that were trained more than once, by method, then fold; cases without one are a group.

    Their columns follow each other from 0 on.
    """
    found: list[Group] = []
    if matrices.trainings is None:
        return found
    start = 0
    for method, seeds in enumerate(matrices.trainings.seeds):
        own = matrices.trainings.folds[method]
        for fold in np.unique(own) if len(seeds) > 1 else ():
            found.append(Group(method, own == fold, slice(start, start + len(seeds))))
            start += len(seeds)
    return found


def width(found: Sequence[Group]) -> int:
    """The number of columns of some groups."""
    return found[-1].columns.stop if found else 0


def trained(found: Sequence[Group], count: int) -> np.ndarray:
    """Which of `count` methods were trained several times, boolean, shape (count,)."""
    return np.isin(np.arange(count), [group.method for group in found])


def mean_columns(matrices: Matrices, name: str) -> np.ndarray:
    """The columns of the methods' mean of a metric, turned so that more is better.

    Returns:
        Shape (methods, columns).
    """
    found = groups(matrices)
    columns = np.zeros((len(matrices.methods), width(found)))
    turn = 1 if matrices.higher_is_better.get(name, True) else -1
    for group in found:
        columns[group.method, group.columns] = turn * _deviations(group, _of(matrices).values[name][group.method])
    return columns


def _of(matrices: Matrices) -> Trainings:
    if matrices.trainings is None:
        raise ValueError("no method was trained several times")
    return matrices.trainings


def _deviations(group: Group, values: np.ndarray) -> np.ndarray:
    """A group's columns, from the values of its method, shape (trainings, cases)."""
    of_fold = means(values[:, group.cases])
    share = np.count_nonzero(group.cases) / values.shape[1]
    return np.asarray((of_fold - means(of_fold)) * share * group.scale)


def spread(matrices: Matrices, name: str, method: int) -> list[tuple[Group, np.ndarray]]:
    """The deviations of a method's trainings from their mean case by case, by group; scaled as columns are.

    Returns:
        For each of the method's groups, shape (trainings, cases of the group).
    """
    parts = []
    for group in groups(matrices):
        if group.method == method:
            values = _of(matrices).values[name][method][:, group.cases]
            parts.append((group, (values - means(values.T)) * group.scale))
    return parts


def freedoms(patients: np.ndarray, columns: np.ndarray, found: Sequence[Group], sizes: np.ndarray) -> np.ndarray:
    """The degrees of freedom of squared standard errors, infinite where there is no error.

    Args:
        patients: what each patient adds to each error, shape (errors, patients).
        columns: what each training adds, shape (errors, columns).
        found: the groups of these columns, at least one.
        sizes: cases of each patient, shape (patients,).

    Returns:
        Shape (errors,).
    """
    worth = float((sizes**2.0).sum() ** 2 / (sizes**4.0).sum())
    of_patients = (patients**2).sum(axis=1)
    parts = np.add.reduceat(columns**2, [group.columns.start for group in found], axis=1)
    several = np.array([group.trainings for group in found])
    below = of_patients**2 / max(worth - 1, 1) + (parts**2 / (several - 1)).sum(axis=1)
    above = (of_patients + parts.sum(axis=1)) ** 2
    return np.asarray(np.divide(above, below, out=np.full(len(above), np.inf), where=below > 0))


def pair_freedoms(patients: np.ndarray, columns: np.ndarray, found: Sequence[Group], sizes: np.ndarray) -> np.ndarray:
    """The `freedoms` of the difference of each two methods, shape (methods, methods); arguments by method.

    One less than there are patients where neither was trained several times, as where no method was.
    """
    several = trained(found, len(patients))
    degrees = np.stack(
        [freedoms(patients - patients[row], columns - columns[row], found, sizes) for row in range(len(patients))]
    )
    return np.where(several[:, None] | several, degrees, len(sizes) - 1.0)


def rank_sums(matrices: Matrices) -> tuple[np.ndarray, np.ndarray]:
    """Sums over the metrics of a training's expected rank in each case, and their columns.

    The rank of one training of a method among one training of each other method, on average over all choices: 1 plus,
    over the other methods, the share of their trainings that are better. A training without a prediction, or with an
    undefined value that no policy has a rule for, has the last rank.

    A training moves the ranks of the others, too. Its column holds what it adds to each method's mean rank if the
    others stay as they are (the Hajek projection of this U-statistic; van der Vaart, Asymptotic Statistics, 1998,
    chapter 12).

    Returns:
        Shape (methods, cases), and shape (methods, columns).
    """
    trainings, count = _of(matrices), len(matrices.methods)
    numbers = np.array([len(values) for values in trainings.missing])
    starts = np.concatenate([[0], np.cumsum(numbers)[:-1]])
    found = groups(matrices)
    of_method: dict[int, list[Group]] = {}
    for group in found:
        of_method.setdefault(group.method, []).append(group)
    sums, columns = np.zeros(matrices.missing.shape), np.zeros((count, width(found)))
    for name, up in matrices.higher_is_better.items():
        absent = np.concatenate(trainings.missing)
        if name in trainings.undefined:
            absent = absent | np.concatenate(trainings.undefined[name])
        keys = comparable(np.concatenate(trainings.values[name])) * (1 if up else -1)
        keys[absent] = -np.inf
        for method, first in enumerate(starts):
            rivals = np.arange(count) != method
            for training in range(numbers[method]):
                own = keys[first + training]
                # a rival without a prediction has the last rank whatever this training does
                worse = np.add.reduceat((keys < own) & ~absent, starts, axis=0, dtype=float) / numbers[:, None]
                better = np.add.reduceat(keys > own, starts, axis=0, dtype=float) / numbers[:, None]
                rank = np.where(absent[first + training], count, 1 + better[rivals].sum(axis=0))
                sums[method] += rank / numbers[method]
                for group in of_method.get(method, ()):
                    moved = np.where(rivals[:, None], worse, rank)[:, group.cases].sum(axis=1)
                    columns[:, group.columns.start + training] += moved / len(own)
    for group in found:
        part = columns[:, group.columns]
        columns[:, group.columns] = (part - part.mean(axis=1, keepdims=True)) * group.scale
    return sums, columns


def seed_deviations(matrices: Matrices, name: str) -> list[float]:
    """For each method, the standard deviation over its trainings (S - 1) of a metric's mean over all cases.

    Trainings of different folds belong together by their seed. NaN for a method with fewer than two.
    """
    if matrices.trainings is None:
        return [math.nan] * len(matrices.methods)
    return [
        float(np.std(means(values), ddof=1)) if len(values) > 1 else math.nan
        for values in matrices.trainings.values[name]
    ]
