from __future__ import annotations

from dataclasses import replace

import numpy as np
from phantom import phantom

from benchmark.methods.perfusion_threshold import rules
from benchmark.methods.perfusion_threshold.memo import FlowMemo
from benchmark.pipeline.midline import Midline


def test_any_change_of_a_case_is_measured_anew_and_no_more_is_kept_than_fits() -> None:
    case = phantom(32)
    ct, cbf, tmax = (case.maps[place].astype(np.float32) for place in (0, 1, 4))
    brain = case.brain.astype(np.uint8)
    measured = []

    def measure(*arrays: object) -> rules.Flow:
        measured.append(arrays)
        return rules.Flow(np.zeros(10), np.zeros(10), np.zeros(10, dtype=bool))  # 170 bytes

    memo = FlowMemo(capacity=2 * 170)
    other = tmax.copy()
    other[0, 5, 5] += 1e-3
    line = Midline((90.0, 95.0), 1.0, 2.0, 0.5)
    calls = [
        (ct, cbf, tmax, brain, case.spacing_mm, line),
        (ct, cbf, other, brain, case.spacing_mm, line),
        (ct, cbf, tmax, brain, case.spacing_mm, replace(line, angle_deg=3.0)),
    ]
    for expected in (3, 4):  # the third does not fit any more
        for call in calls:
            memo.measured(measure, *call)
        assert len(measured) == expected
