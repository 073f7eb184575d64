"""Confidence sets for ranks, and groups of methods that the data cannot separate.

Mogstad, Romano, Shaikh, Wilhelm, "Inference for Ranks with Applications to Mobility across Neighbourhoods and Academic
Achievement across Countries", Review of Economic Studies 91(1), 2024: a method's rank is one plus the number of
methods that are truly better. Test its difference from each of its J - 1 rivals, in both directions at once, so that
any wrong verdict has a probability of at most 5 %; then the true rank lies in
[1 + rivals significantly better, J - rivals significantly worse] with a probability of at least 95 %.

The critical value is the 95 % quantile of the bootstrap's largest studentised error, over the hypotheses that are
still undecided (step-down, Romano and Wolf, Econometrica 73(4), 2005, over directed pairs). Our choices:

- A quantile c of G resampled units becomes Student's with G - 1 degrees of freedom of the same normal tail (the
  expanded percentile of Hesterberg, The American Statistician 69(4), 2015), and is never below the value for one
  comparison: a resampled deviation is too small by sqrt((G - 1) / G) and has too light tails when patients are few.
- A difference that is the same in every resample has no standard error. That alone is no evidence: with one resample,
  every difference is the same. It is judged by a test over the units, two-sided, whose p value times the number
  of comparisons must not exceed 5 %: of a lead that is the same for every unit the sign test, 2^(1 - G). Equal methods
  are never separated.
- Where scores are bounded and coarse (mean ranks, shares), all resampled errors of a leader point down: 5 % of them on
  one side are 10 % of wrong verdicts, and expanding the quantile's value comes too late where it is 0. Then the level
  itself is expanded, from 97.5 % (`expanded_level`).
- Where methods were trained several times, each pair has degrees of freedom of its own (`trainings.freedoms`): a fold
  that was trained twice says little about how much trainings vary. Ranks and shares of tests cannot carry them: a
  difference of ranks is bounded, and the value for one degree of freedom, 12.7, is out of its reach. There the level is
  that of the units, and two methods are separated only if the means of some metric differ, too (`separable`).
- One unit separates nothing, nor do fewer resamples than the quantile needs: 19, more where the level is expanded.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from leaderboard.ranking.largest_errors import LargestErrors

#: Confidence of all sets.
LEVEL = 0.95
# Two numbers closer than this share count as equal, so that rounding on another machine cannot decide.
_NOISE = 1e-9


@dataclass(frozen=True)
class Comparison:
    """What is compared."""

    estimates: np.ndarray  #: score of each method, shape (methods,), more is better
    resampled: np.ndarray  #: shape (methods, resamples)
    #: from the row of a method, the standard errors of all others' differences from it, shape (methods,); those below
    #: `noise` are zero
    errors_of: Callable[[int], np.ndarray]
    #: from the row of a method, one-sided p values from the units, against each other method, of the lead of whichever
    #: has the higher estimate; shape (methods,). Needed where a lead has no standard error.
    p_values_of: Callable[[int], np.ndarray]
    noise: float  #: differences and errors up to this are only rounding
    units: int  #: number of independent units, patients or cases
    level: float = LEVEL  #: of the quantile of the resampled errors
    #: degrees of freedom of the standard errors, shape (methods, methods); None: one less than there are units
    freedom: np.ndarray | None = None
    #: which methods may be separated at all, symmetric, shape (methods, methods); None: any two
    separable: np.ndarray | None = None
    progress: Callable[[int, int], None] | None = None  #: called with (done, total) while the sets are made

    @cached_property
    def errors(self) -> np.ndarray:
        """The standard error of each difference, infinite where there is none, shape (methods, methods)."""
        errors = np.stack([self.errors_of(row) for row in range(len(self.estimates))])
        errors[errors <= self.noise] = np.inf
        return errors

    @cached_property
    def largest(self) -> LargestErrors:
        """The largest studentised error of each method in each resample."""
        return LargestErrors(self.estimates, self.resampled, self.errors, self._report)

    def _report(self, done: int, methods: int) -> None:
        """Report progress: pairs first, then sets; the verdicts on all pairs at once take little time."""
        if self.progress:
            self.progress(done, 2 * methods)

    @property
    def tells_nothing(self) -> bool:
        """Whether there are too few units or resamples to separate anything."""
        resamples = self.resampled.shape[1]
        return self.units < 2 or _place(self.level, resamples) > resamples


def confidence_sets(comparison: Comparison) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest rank of each method's 95 % confidence set, shape (methods,) each."""
    count = len(comparison.estimates)
    low, high = np.ones(count, dtype=int), np.full(count, count)
    if comparison.tells_nothing:
        return low, high
    for method in range(count):
        better, worse = _against_all(comparison, method)
        low[method] += better.sum()
        high[method] -= worse.sum()
        if comparison.progress:
            comparison.progress(count + method + 1, 2 * count)
    return low, high


def separated_pairs(comparison: Comparison) -> np.ndarray:
    """Pairs that differ significantly, all pairs judged at once: 95 % sure that no verdict is wrong.

    Returns:
        Boolean, shape (methods, methods): [a, b] where a is better than b.
    """
    count = len(comparison.estimates)
    better = np.zeros((count, count), dtype=bool)
    if comparison.tells_nothing:
        return better
    pairs = count * (count - 1) // 2
    statistics = [_statistics(comparison, method, pairs) for method in range(count)]
    t = np.array([found for found, _ in statistics])
    for method, (lead, certain) in enumerate(statistics):
        better[method, certain & (lead < 0)] = True
    studentised = np.isfinite(comparison.errors)
    once = np.triu(studentised, 1)
    methods, bounds = np.arange(count), comparison.largest.bounds.copy()
    while True:
        # once one direction is decided, the other is still tested
        fresh = not better.any()
        quantile = _quantile(comparison, methods, once & ~better.T, once & ~better, bounds, fresh=fresh)
        critical = _critical(comparison, quantile, comparison.freedom)
        found = studentised & (-t > critical) & ~better
        if not found.any():
            return better
        better |= found


def tie_groups(separated: np.ndarray) -> list[range]:
    """Longest runs of methods, consecutive in the ranking, of which no two are separated.

    Args:
        separated: what `separated_pairs` gives, methods in the order of the ranking.

    Returns:
        Runs of rows from the top; every method is in at least one, and they may overlap.
    """
    count = len(separated)
    ends = [count] * (count + 1)
    for row in reversed(range(count)):
        apart = np.flatnonzero(separated[row, row + 1 :] | separated[row + 1 :, row])
        ends[row] = min(ends[row + 1], row + 1 + int(apart[0]) if apart.size else count)
    return [range(row, ends[row]) for row in range(count) if row == 0 or ends[row] > ends[row - 1]]


def group_labels(groups: list[range], count: int) -> list[str]:
    """The groups of each row by letter: ``a``; ``a-c`` for the groups a, b and c."""
    labels = []
    for row in range(count):
        own = [_letters(number) for number, group in enumerate(groups) if row in group]
        labels.append(own[0] if len(own) == 1 else f"{own[0]}-{own[-1]}")
    return labels


def _letters(number: int) -> str:
    """Spreadsheet letters: a to z, then aa, ab, ..."""
    text = ""
    number += 1
    while number:
        number, letter = divmod(number - 1, 26)
        text = chr(ord("a") + letter) + text
    return text


def _against_all(comparison: Comparison, method: int) -> tuple[np.ndarray, np.ndarray]:
    """Rivals significantly better and worse than one method, shape (methods,) each."""
    t, certain = _statistics(comparison, method, len(comparison.estimates) - 1)
    better, worse = certain & (t > 0), certain & (t < 0)
    rivals = np.isfinite(comparison.errors[method])
    if not rivals.any():
        return better, worse
    methods, bounds = np.array([method]), comparison.largest.bounds[[method]]
    while True:
        fresh = not (rivals & (better | worse)).any()
        quantile = _quantile(
            comparison, methods, (rivals & ~better)[None], (rivals & ~worse)[None], bounds, fresh=fresh
        )
        critical = _critical(comparison, quantile, None if comparison.freedom is None else comparison.freedom[method])
        more = rivals & (t > critical) & ~better
        less = rivals & (-t > critical) & ~worse
        if not more.any() and not less.any():
            return better, worse
        better |= more
        worse |= less


def _statistics(comparison: Comparison, method: int, comparisons: int) -> tuple[np.ndarray, np.ndarray]:
    """For each rival, t of its lead (or its sign), and whether a lead without a standard error is significant."""
    lead = comparison.estimates - comparison.estimates[method]
    error = comparison.errors[method]
    constant = np.isinf(error)
    t = np.where(constant, np.sign(lead), lead / np.where(constant, 1.0, error))
    certain = constant & (np.abs(lead) > comparison.noise)
    if certain.any():
        certain &= 2 * comparison.p_values_of(method) * comparisons <= 1 - LEVEL + _NOISE
    if comparison.separable is not None:
        return np.where(comparison.separable[method], t, 0.0), certain & comparison.separable[method]
    return t, certain


def _place(level: float, resamples: int) -> int:
    """Place of the quantile of a level among the sorted resampled values; beyond the last if they are too few."""
    return math.ceil(level * (resamples + 1) - _NOISE)


def expanded_level(units: int) -> float:
    """The normal level of Student's quantile of (1 + LEVEL) / 2 for G = `units`, scaled by sqrt(G / (G - 1))."""
    from scipy.special import ndtr, stdtrit

    if units < 2:
        return LEVEL
    return float(ndtr(math.sqrt(units / (units - 1)) * stdtrit(units - 1, (1 + LEVEL) / 2)))


def _quantile(
    comparison: Comparison,
    methods: np.ndarray,
    up: np.ndarray,
    down: np.ndarray,
    bounds: np.ndarray,
    *,
    fresh: bool,
) -> float:
    """Quantile of the bootstrap's largest deviations; arguments as for `LargestErrors.quantile`."""
    place = _place(comparison.level, comparison.resampled.shape[1])
    return comparison.largest.quantile(methods, up, down, bounds, place, fresh=fresh)


def _critical(comparison: Comparison, quantile: float, freedom: np.ndarray | None) -> np.ndarray:
    """Student's value of the same normal tail, at least that of a single comparison; the shape of `freedom`."""
    from scipy.special import ndtr, stdtrit

    units = comparison.units
    degrees = np.asarray(units - 1 if freedom is None else freedom)
    normal = quantile * math.sqrt(units / (units - 1))
    expanded, single = -stdtrit(degrees, ndtr(-normal)), -stdtrit(degrees, (1 - LEVEL) / 2)
    return np.asarray(np.maximum(expanded, single) * (1 + _NOISE))
