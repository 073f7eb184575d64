"""The midline search on a full-size slab, one thread."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmark.pipeline.midline import estimate_midline


@pytest.mark.bench
def test_midline_of_a_full_size_slab(benchmark, figure) -> None:
    _z, y, x = np.mgrid[:8, :256, :256]
    inside = ((x - 131) / 80) ** 2 + ((y - 126) / 100) ** 2 < 1
    ct = np.where(inside, 30.0 + np.random.default_rng(0).normal(0, 3, inside.shape), 0.0).astype(np.float32)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        benchmark(estimate_midline, ct, inside, (0.9, 0.9, 5.0))
    finally:
        torch.set_num_threads(threads)
    figure("midline of a full-size slab, one core [s]", benchmark.stats.stats.median, "")
