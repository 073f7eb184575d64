"""Quantiles of the largest studentised error over many pairs of methods, without looking at all of them exactly.

With J methods and B resamples there are J (J - 1) B errors, 10^10 for a thousand methods. Each is computed once in
single precision, which gives the largest error of a method in a resample up to a known rounding. From then on, bounds
tell which methods and resamples can decide a quantile. Only these are computed again, in double precision where the
rounding leaves the result open. The quantile equals that of double precision throughout, to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from leaderboard.parallel import cores

#: Number of errors (rivals times resamples) computed in one go, so that they stay in a processor's cache.
_CHUNK = 1 << 17
#: Resamples in one go at least, if there are so many: loops over fewer cost more than what they do.
_WIDE = 64
#: A rival whose error may be off by more than this in single precision is computed in double precision.
_COARSE = 0.01


class LargestErrors:
    """The largest of a method's studentised errors in each resample.

    The error of rival k against method m is ((r_k - r_m) - (e_k - e_m)) / s_mk, for resampled scores r, estimates e and
    standard errors s.

    Attributes:
        bounds: no error of a method in a resample is larger in size, shape (methods, resamples).
    """

    def __init__(
        self,
        estimates: np.ndarray,
        resampled: np.ndarray,
        errors: np.ndarray,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Compute every error once.

        Args:
            estimates: shape (methods,).
            resampled: shape (methods, resamples).
            errors: standard errors, shape (methods, methods), symmetric; infinite for pairs that do not count.
            progress: called with (done, methods).
        """
        self._estimates, self._resampled, self._errors = estimates, resampled, errors
        deviations = resampled - estimates[:, None]
        _, exponent = np.frexp(max(float(np.abs(deviations).max(initial=0.0)), np.finfo(float).tiny))
        scale = np.ldexp(1.0, -exponent)
        # a resample's scores lie side by side, of magnitude 1 at most
        self._single = np.ascontiguousarray((deviations * scale).T, dtype=np.float32)
        with np.errstate(over="ignore"):
            weights = (1 / (errors * scale)).astype(np.float32)
        largest = max(float(np.abs(resampled).max(initial=0.0)), float(np.abs(estimates).max(initial=0.0)))
        rounding = (2.0**-20 / scale + 2.0**-48 * largest) / errors
        self._coarse = ~(rounding <= _COARSE)
        self._rounding = float(rounding[~self._coarse].max(initial=0.0))
        self._weights = np.where(self._coarse, np.float32(0), weights)
        self.bounds = np.empty(resampled.shape, dtype=np.float32)
        step = max(_CHUNK // len(resampled), _WIDE)
        parts = [slice(start, start + step) for start in range(0, resampled.shape[1], step)]
        with ThreadPoolExecutor(min(cores(), len(parts))) as pool:  # the parts share nothing that is written
            bounded = [pool.submit(self._bound, part) for part in parts]
            try:
                for done, future in enumerate(bounded, start=1):
                    future.result()
                    if progress:
                        progress(len(resampled) * done // len(parts), len(resampled))
            finally:
                pool.shutdown(cancel_futures=True)  # after an interrupt, those that have not begun

    def quantile(
        self,
        methods: np.ndarray,
        up: np.ndarray,
        down: np.ndarray,
        bounds: np.ndarray,
        place: int,
        *,
        fresh: bool = False,
    ) -> float:
        """The quantile over the resamples of the largest error over some pairs.

        Args:
            methods: M of them.
            up: rivals whose error counts as it is, shape (M, methods); with finite standard errors.
            down: rivals whose error counts with its sign turned, same shape.
            bounds: no error that counts is larger, shape (M, resamples); lowered where one is computed.
            place: of the quantile among the sorted largest errors, counted from 1.
            fresh: the bounds are `self.bounds` and every pair with a standard error counts, so none is computed again.

        Returns:
            The quantile; minus infinity if nothing counts.
        """
        counting = (up | down).any(axis=1)
        bounds[~counting] = -np.inf
        if not counting.any():
            return -np.inf
        resamples = bounds.shape[1]
        tail = resamples - place + 1
        found = np.full(resamples, -np.inf)
        seen = np.zeros(bounds.shape, dtype=bool)

        def look(wanted: np.ndarray) -> None:
            for row in np.flatnonzero(wanted.any(axis=1)):
                columns = np.flatnonzero(wanted[row])
                largest = self._look(int(methods[row]), columns, up[row], down[row], bounds[row])
                found[columns] = np.maximum(found[columns], largest)
            seen[wanted] = True

        if fresh:
            found = bounds.max(axis=0).astype(float)
        else:
            # for any choice of resamples, the quantile is not below the smallest of their largest errors
            first = np.argpartition(bounds.max(axis=0), place - 1)[place - 1 :]
            probable = np.zeros_like(seen)
            probable[bounds[:, first].argmax(axis=0), first] = True
            look(probable)
            look((bounds >= found[first].min() - 2 * self._rounding) & ~seen)
        cut = float(np.partition(found, place - 1)[place - 1])
        # the found errors, and so the cut, are off by at most two roundings and the last bit of a bound
        off = 3 * self._rounding + 2.0**-20 * abs(cut)
        open_ = np.flatnonzero(np.abs(found - cut) <= 2 * off)
        above = int(np.count_nonzero(found > cut + 2 * off))
        exact = np.full(open_.size, -np.inf)
        for row in np.flatnonzero((bounds[:, open_] >= cut - 3 * off).any(axis=1)):
            parts = np.flatnonzero(bounds[row, open_] >= cut - 3 * off)
            largest = self._exactly(int(methods[row]), open_[parts], up[row], down[row])
            exact[parts] = np.maximum(exact[parts], largest)
        return float(np.sort(exact)[above - tail])

    def _bound(self, part: slice) -> None:
        """The size of each method's largest error in some resamples, rounded upwards.

        A pair is looked at once: against each other, two methods have the same error with its sign turned.
        """
        scores = np.ascontiguousarray(self._single[part].T)
        largest: np.ndarray = np.zeros_like(scores)
        room: np.ndarray = np.empty_like(scores)
        for method in range(len(scores) - 1):
            behind = slice(method + 1, None)
            errors = np.subtract(scores[behind], scores[method], out=room[behind])
            errors *= self._weights[method, behind, None]  # 0 for a pair that does not count
            np.abs(errors, out=errors)
            np.maximum(largest[method], errors.max(axis=0), out=largest[method])
            np.maximum(largest[behind], errors, out=largest[behind])
        bounds = self.bounds[:, part]
        bounds[:] = self._above(largest)
        resamples = np.arange(len(self._single))[part]
        for row in np.flatnonzero(self._coarse.any(axis=1)):
            exact = self._exactly(int(row), resamples, self._coarse[row], self._coarse[row])
            np.maximum(bounds[row], self._above(exact), out=bounds[row])

    def _look(
        self, method: int, resamples: np.ndarray, up: np.ndarray, down: np.ndarray, bounds: np.ndarray
    ) -> np.ndarray:
        """A method's largest error in some resamples, up to `_rounding`; lowers its bounds accordingly."""
        fine = ~self._coarse[method]
        largest = np.full(resamples.size, -np.inf)
        if (counting := (up | down) & fine).any():
            few = np.count_nonzero(counting) < len(fine) // 3
            rivals = np.flatnonzero(counting) if few else slice(None)
            weights = self._weights[method, rivals]
            # adding infinity to those that do not count is faster than leaving them out
            nothing = np.float32(np.inf)
            above = np.where((up & fine)[rivals], np.float32(0), -nothing)
            below = np.where((down & fine)[rivals], np.float32(0), nothing)
            step = max(_CHUNK // weights.size, 1)
            for start in range(0, resamples.size, step):
                part = slice(start, start + step)
                scores = self._single[resamples[part]]
                errors = scores[:, rivals] - scores[:, method, None]
                errors *= weights
                largest[part] = np.maximum((errors + above).max(axis=1), -(errors + below).min(axis=1))
        if ((up | down) & ~fine).any():
            np.maximum(largest, self._exactly(method, resamples, up & ~fine, down & ~fine), out=largest)
        bounds[resamples] = self._above(largest)
        return largest

    def _above(self, largest: np.ndarray) -> np.ndarray:
        """Single-precision values that are not below the true ones."""
        return np.nextafter((largest + self._rounding).astype(np.float32), np.float32(np.inf))

    def _exactly(self, method: int, resamples: np.ndarray, up: np.ndarray, down: np.ndarray) -> np.ndarray:
        """A method's largest error in some resamples, in double precision, shape (resamples,)."""
        rivals = np.flatnonzero(up | down)
        lead = self._estimates[rivals] - self._estimates[method]
        largest = np.full(resamples.size, -np.inf)
        step = max(_CHUNK // max(rivals.size, 1), 1)
        for start in range(0, resamples.size, step):
            part = resamples[start : start + step]
            errors = self._resampled[np.ix_(rivals, part)]
            errors -= self._resampled[method, part]
            errors -= lead[:, None]
            errors /= self._errors[method, rivals, None]
            for rows, turn in ((up[rivals], 1), (down[rivals], -1)):
                if rows.any():
                    extreme = (turn * errors[rows]).max(axis=0)
                    np.maximum(largest[start : start + step], extreme, out=largest[start : start + step])
        return largest
