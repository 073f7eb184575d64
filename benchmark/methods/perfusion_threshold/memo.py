"""What was measured of a case, remembered within a process: the rows of a suite ask for the same."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from benchmark.methods.perfusion_threshold.rules import Flow
from benchmark.pipeline.midline import Midline

#: Bytes that are kept. The flow of ISLES 2018's 502 slices takes 0.6 GB.
CAPACITY = 2**30


class FlowMemo:
    """Flows by the content of the arrays that they were measured from.

    What does not fit any more is measured each time: rows look at the cases in the same order, so that to make room by
    forgetting the oldest would leave nothing that is asked for again.

    Args:
        capacity: bytes of the flows that are kept, at most.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._free = capacity
        self._flows: dict[bytes, Flow] = {}

    def measured(
        self,
        measure: Callable[..., Flow],
        ct: np.ndarray,
        cbf: np.ndarray,
        tmax: np.ndarray,
        brain: np.ndarray,
        spacing_mm: Sequence[float],
        midline: Midline,
    ) -> Flow:
        """`measure` of these arguments (see `rules.measure_flow`), once; its arrays are not to be changed."""
        arrays = (ct, cbf, tmax, brain, np.asarray(spacing_mm, dtype=np.float64))
        described = [(array.shape, array.dtype.str) for array in arrays]
        digest = hashlib.sha256(repr((described, midline)).encode())
        for array in arrays:
            digest.update(np.ascontiguousarray(array).data)
        key = digest.digest()
        if (flow := self._flows.get(key)) is None:
            flow = measure(ct, cbf, tmax, brain, spacing_mm, midline)
            size = flow.rcbf.nbytes + flow.tmax.nbytes + flow.valid.nbytes
            if size <= self._free:
                self._free -= size
                self._flows[key] = flow
        return flow
